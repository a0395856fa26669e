"""How the faulty WebDAV server of `faulty_webdav` answers: its HTTP handler."""

from __future__ import annotations

import http.server
import os
import socket
import struct
import time
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from support.faulty_webdav import Fault, Faulty, Kind, Request, checksum, etag

_ABOUT_THE_SITE: Final = ("/status.php", "/ocs/v1.php/cloud/capabilities")


class _Gone(Exception):
    """The connection is no more."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is head and body in two writes, and a client must not wait between them.
    disable_nagle_algorithm = True
    server: Server
    _mute = False

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (_Gone, OSError):
            self.close_connection = True

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path).rstrip("/")
        dav = self.server.dav
        if path.endswith(_ABOUT_THE_SITE):
            # The gateway asks this once, and no test's fault or count is about it.
            self._answer(404)
            return
        request = Request(
            self.command,
            path,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            time.monotonic(),
        )
        self._request = request
        fault = dav.fault_of(request)
        path = dav.spelled(path)
        if fault is None:
            body = self._body(request)
            _ANSWERS.get(self.command, _Handler._unknown)(self, path, body)
        elif fault.kind is Kind.ANSWER:
            body = self._body(request)
            if fault.carried_out:
                self._mute = True
                _ANSWERS.get(self.command, _Handler._unknown)(self, path, body)
                self._mute = False
            self._answer(fault.status, fault.body, *fault.headers)
        else:
            self._break(fault, request, path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _body(self, request: Request, most: int | None = None) -> bytes:
        """The request's body, or the first `most` bytes of it."""
        wanted = int(self.headers.get("Content-Length") or 0)
        if most is not None:
            wanted = min(wanted, most)
        parts: list[bytes] = []
        while request.received < wanted:
            part = self.rfile.read1(min(1 << 16, wanted - request.received))
            if not part:
                if self.command == "PUT" and self.server.dav.in_place:
                    self.server.dav.receive(request.path, b"".join(parts), None)
                raise _Gone
            request.received += len(part)
            parts.append(part)
        if self.command == "POST":
            request.posted = b"".join(parts)
        return b"".join(parts)

    def _answer(self, code: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        if self._mute:
            return
        # A status that Python has no words for is sent as some servers do: without any.
        known = code in HTTPStatus.__members__.values()
        self.send_response(code, HTTPStatus(code).phrase if known else "")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _break(self, fault: Fault, request: Request, path: str) -> None:
        content = self.server.dav.files.get(path) if self.command == "GET" else None
        if content is None:
            self._body(request, fault.after)
        elif fault.kind is Kind.TRUNCATE or fault.after:
            first, size = self._range(len(content))
            self._head_of_content(first, size, len(content))
            self._send(content[first : max(first, min(first + size, fault.after))])
        if fault.kind is Kind.STALL:
            self.server.dav.ended.wait()
        if fault.kind is Kind.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Past what the library does before it closes, which would be an orderly end.
            os.close(self.connection.detach())
        raise _Gone

    def _range(self, size: int) -> tuple[int, int]:
        """Where what is asked for begins, and how long it is."""
        wanted = self.headers.get("Range", "")
        if not (self.server.dav.ranges and wanted.startswith("bytes=")):
            return 0, size
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        first = int(begin)
        return first, max(0, min(size, int(end) + 1 if end else size) - first)

    def _head_of_content(self, first: int, size: int, whole: int) -> None:
        partial = "Range" in self.headers and self.server.dav.ranges
        self.send_response(206 if partial else 200)
        if self.server.dav.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{first + size - 1}/{whole}")
        self.end_headers()

    def _propfind(self, path: str, _: bytes) -> None:
        asked = unquote(urlsplit(self.path).path).rstrip("/")
        listed = self.server.dav.listing(asked, self.headers.get("Depth") or "1")
        if listed is None:
            self._answer(404)
        else:
            listed = self.server.dav.rewrite(path, listed)
            self._answer(207, listed, ("Content-Type", "application/xml"))

    def _get(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        content = dav.read(path) if self.command == "GET" else dav.files.get(path)
        if content is None:
            self._answer(404)
            return
        if self.command == "HEAD" and "Want-Digest" in self.headers:
            told = dav.digest_of(path, content)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            if told:
                self.send_header("Digest", told)
            self.end_headers()
            return
        first, size = self._range(len(content))
        self._head_of_content(first, size, len(content))
        if self.command == "GET":
            self._send(content[first : first + size])
            if self.server.dav.chunked:
                self.wfile.write(b"0\r\nX-Trailer: whole\r\n\r\n")

    def _send(self, content: bytes) -> None:
        if self.server.dav.chunked and content:
            content = b"%x\r\n%b\r\n" % (len(content), content)
        self.wfile.write(content)

    def _put(self, path: str, body: bytes) -> None:
        dav = self.server.dav
        with dav.lock:
            path = dav.spelled(path)
            if path.rpartition("/")[0] not in dav.folders and "/uploads/" not in path:
                self._answer(409)
                return
            if not self._condition_holds(path):
                self._answer(412)
                return
            there = path in dav.files
            dav.receive(path, body, self._modified())
        told = [("ETag", etag(body))]
        if self._modified() is not None:
            told.append(("X-OC-Mtime", "accepted"))
        self._answer(204 if there else 201, b"", *told)

    def _condition_holds(self, path: str) -> bool:
        content = self.server.dav.files.get(path)
        if not self.server.dav.conditions:
            return True
        if self.headers.get("If-None-Match") == "*" and content is not None:
            return False
        wanted = self.headers.get("If-Match")
        return wanted is None or (content is not None and wanted == etag(content))

    def _modified(self) -> float | None:
        given = self.headers.get("X-OC-Mtime")
        return self.server.dav.times(float(given)) if given else None

    def _mkcol(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        with dav.lock:
            # Another request may have made it meanwhile by another spelling.
            path = dav.spelled(path)
            is_there = path in dav.folders or path in dav.files
            is_orphan = path.rpartition("/")[0] not in dav.folders and "/uploads/" not in path
            if not is_there and not is_orphan:
                dav.folders.add(path)
        self._answer(405 if is_there else 409 if is_orphan else 201)

    def _delete(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        with dav.lock:
            if not self._condition_holds(path):
                self._answer(412)
                return
        time.sleep(dav.delete_seconds)  # none, unless a test wants a server that removes slowly
        with dav.lock:
            names = {*dav.files, *dav.folders}
            gone = {name for name in names if f"{name}/".startswith(f"{path}/")}
            for name in gone:
                dav.files.pop(name, None)
                dav.folders.discard(name)
        self._answer(204 if gone else 404)

    def _move(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        with dav.lock:
            target = self._destination()
            if not dav.decodes and target.rpartition("/")[0] not in dav.folders:
                self._answer(409)
                return
            there = target in dav.files
            wanted = self.headers.get("If")  # <URL> (["etag"])
            if wanted and dav.conditions and etag(dav.files.get(target, b"")) not in wanted:
                self._answer(412)
                return
            if path.endswith("/.file"):
                chunks = path.removesuffix(".file")
                names = sorted(name for name in dav.files if name.startswith(chunks))
                dav.folders.discard(chunks.rstrip("/"))
            else:
                names = [path] if path in dav.files else []
                if self.headers.get("Overwrite") == "F" and there and dav.conditions:
                    self._answer(412)
                    return
            content = b"".join(dav.files.pop(name) for name in names)
            if names:
                dav.store(target, content, self._modified())
        self._answer((204 if there else 201) if names else 404)

    def _destination(self) -> str:
        named = self.headers["Destination"]
        if self.server.dav.decodes:
            return self.server.dav.spelled(unquote(urlsplit(named).path).rstrip("/"))
        plain = named.encode("latin-1").decode("utf-8", "surrogateescape")
        return "/" + plain.partition("://")[2].partition("/")[2].rstrip("/")

    def _copy(self, _: str, __: bytes) -> None:
        dav = self.server.dav
        if dav.copier is None:
            self._answer(405)
            return
        self.send_response(202)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in dav.copier(self._request):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _patch(self, path: str, _: bytes) -> None:
        content = self.server.dav.files.get(path)
        if content is None or self.headers.get("X-Recalculate-Hash") != "sha1":
            self._answer(404 if content is None else 405)
        else:
            self._answer(204, b"", ("OC-Checksum", checksum(content)))

    def _unknown(self, _: str, __: bytes) -> None:
        self._answer(405)

    def log_message(self, *_: object) -> None:
        pass


_ANSWERS: Final = {
    "PROPFIND": _Handler._propfind,
    "GET": _Handler._get,
    "HEAD": _Handler._get,
    "PUT": _Handler._put,
    "MKCOL": _Handler._mkcol,
    "DELETE": _Handler._delete,
    "MOVE": _Handler._move,
    "COPY": _Handler._copy,
    "PATCH": _Handler._patch,
}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, dav: Faulty) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dav = dav

    def handle_error(self, *_: object) -> None:
        pass
