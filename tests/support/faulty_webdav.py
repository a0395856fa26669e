"""A WebDAV server that works, and fails where it is told to: what no real server does on order.

    with faulty.serving() as dav:
        dav.fill("data", {"good.txt": b"…", "bad.txt": b"…"})
        dav.fail("GET", "/data/bad.txt", faulty.status(500))             # always
        dav.fail("PUT", "*", faulty.sabre(423, "…", "…"), times=2)       # then fine
        function.copy(dav.storage.endpoint("data"), …)
        assert len(dav.seen("GET", "/data/bad.txt")) == 3

Its content is in its memory: `files` by path, and `dav.storage` is a `Storage` like any
other. Below /remote.php/dav/ it is as much of a Nextcloud as rclone needs: it takes a
file's time, and puts chunks together.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

from support import storages as servers
from support.storages import Storage, digest

NEXTCLOUD: Final = "/remote.php/dav/files/alice"
"""Where the files of a Nextcloud's user are; the chunks of uploads are beside it."""


class _Kind(Enum):
    STATUS = "status"
    RESET = "reset"
    STALL = "stall"
    TRUNCATE = "truncate"


@dataclass(frozen=True)
class Fault:
    """What a request meets. Made by `status`, `sabre`, `reset`, `stall`, `truncate`."""

    kind: _Kind
    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    after: int = 0
    carried_out: bool = False


def status(code: int, body: bytes = b"", *, carried_out: bool = False, **headers: str) -> Fault:
    """A status, after the whole request was read; headers with _ for -.

    `carried_out`: what was asked is done all the same, as it is behind a gateway that had
    no patience.
    """
    return Fault(
        _Kind.STATUS,
        code,
        body,
        tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        carried_out=carried_out,
    )


def sabre(code: int, exception: str, message: str) -> Fault:
    """A status with the body that Nextcloud and ownCloud send, whose server is sabre/dav."""
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">'
        f"<s:exception>{escape(exception)}</s:exception><s:message>{escape(message)}</s:message>"
        "</d:error>"
    )
    return Fault(_Kind.STATUS, code, body.encode(), (("Content-Type", "application/xml"),))


def reset(after: int = 0) -> Fault:
    """The connection is reset, after that many bytes of a body were read."""
    return Fault(_Kind.RESET, after=after)


def stall(after: int = 0) -> Fault:
    """Silence until the server ends: of a GET after that many bytes of its content, if any."""
    return Fault(_Kind.STALL, after=after)


def truncate(after: int) -> Fault:
    """A GET that ends as if all had been sent, but nothing beyond that byte of the file ever
    is; a PUT whose connection is closed after that many bytes were read.
    """
    return Fault(_Kind.TRUNCATE, after=after)


@dataclass
class Request:
    """A request as it came; `received` are the bytes of its body that were read."""

    method: str
    path: str
    at: float
    depth: str
    received: int = 0
    failed: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class _Plan:
    method: str
    path: str
    fault: Fault
    times: int | None
    skip: int


@dataclass
class Faulty:
    """The server. Paths begin with `/` and have none at their end; they are not quoted.

    `conditions`: whether it honours If-Match and If-None-Match. `rewrite` changes the body of
    each listing before it is sent, by the path that was listed.
    """

    url: str = ""
    ranges: bool = True
    conditions: bool = True
    rewrite: Callable[[str, bytes], bytes] = lambda _, body: body
    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {""})
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self._plans: list[_Plan] = []
        self._times: dict[str, float] = {}

    def fail(
        self, method: str, path: str, fault: Fault, *, times: int | None = None, skip: int = 0
    ) -> None:
        """Let requests of a method (`*`: any) for a path (a pattern of fnmatch) meet a fault:
        all of them, or `times`; the first `skip` of them are served.
        """
        with self.lock:
            self._plans.append(_Plan(method, path, fault, times, skip))

    def heal(self) -> None:
        """Fail no more, and forget the requests so far."""
        with self.lock:
            self._plans.clear()
            self.requests.clear()

    def seen(self, method: str = "*", path: str = "*") -> list[Request]:
        """The requests so far, of a method and for a path (a pattern)."""
        with self.lock:
            return [
                request
                for request in self.requests
                if method in ("*", request.method) and fnmatchcase(request.path, path)
            ]

    @property
    def storage(self) -> Storage:
        """As the tests name a storage."""
        return Storage("webdav", {"url": self.url, "vendor": "other"}, self._write, self.hashes)

    @property
    def nextcloud(self) -> Storage:
        """The same as a Nextcloud: its hashes are those of the user's files."""
        return Storage(
            "webdav",
            {
                "url": self.url + NEXTCLOUD,
                "vendor": "nextcloud",
                "user": "alice",
                "pass": servers.password(),
            },
            lambda path, content: self._write(f"{NEXTCLOUD}/{path}", content),
            lambda path: self.hashes(f"{NEXTCLOUD}/{path}"),
        )

    def fill(self, folder: str, files: dict[str, bytes]) -> dict[str, str]:
        """Write files below a folder; their hashes."""
        return self.storage.fill(folder, files)

    def hashes(self, path: str) -> dict[str, str]:
        """The hash of every file below a folder, by relative path."""
        root = "/" + path.strip("/") + "/" if path.strip("/") else "/"
        with self.lock:
            return {
                name.removeprefix(root): digest(content)
                for name, content in sorted(self.files.items())
                if name.startswith(root)
            }

    def _write(self, path: str, content: bytes) -> None:
        parts = path.strip("/").split("/")
        with self.lock:
            for depth in range(len(parts)):
                self.folders.add("".join(f"/{part}" for part in parts[:depth]))
            self.store("/" + "/".join(parts), content)

    def store(self, path: str, content: bytes, modified: float | None = None) -> None:
        """Put content at a path."""
        with self.lock:
            self.files[path] = content
            self._times[path] = modified or time.time()

    def fault_of(self, request: Request) -> Fault | None:
        """What this request meets, if anything; it is counted."""
        with self.lock:
            self.requests.append(request)
            for plan in self._plans:
                fits = plan.method in ("*", request.method) and fnmatchcase(request.path, plan.path)
                if not fits or plan.times == 0:
                    continue
                if plan.skip:
                    plan.skip -= 1
                    continue
                if plan.times is not None:
                    plan.times -= 1
                request.failed = True
                return plan.fault
        return None

    def listing(self, path: str, depth: str) -> bytes | None:
        """What a PROPFIND answers; None if there is nothing at the path."""
        with self.lock:
            if path in self.files:
                found = [path]
            elif path in self.folders:
                found = [path]
                if depth != "0":
                    inside = f"{path}/"
                    found += [
                        name
                        for name in sorted({*self.folders, *self.files})
                        if name.startswith(inside)
                        and name != path
                        and "/" not in name.removeprefix(inside)
                    ]
            else:
                return None
            return (
                '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
                + "".join(map(self._described, found))
                + "</d:multistatus>"
            ).encode()

    def _described(self, path: str) -> str:
        if path in self.files:
            href, size = quote(path), len(self.files[path])
            kind = f"<d:resourcetype/><d:getcontentlength>{size}</d:getcontentlength>"
            kind += f"<d:getetag>{escape(etag(self.files[path]))}</d:getetag>"
            if path.startswith(NEXTCLOUD):
                checksum = _checksum(self.files[path])
                kind += f"<oc:checksums><oc:checksum>{checksum}</oc:checksum></oc:checksums>"
        else:
            href, kind = quote(path) + "/", "<d:resourcetype><d:collection/></d:resourcetype>"
        modified = formatdate(self._times.get(path, 0), usegmt=True)
        return (
            f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{kind}"
            f"<d:getlastmodified>{modified}</d:getlastmodified></d:prop>"
            "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )


def etag(content: bytes) -> str:
    """The ETag of a file with this content."""
    return f'"{digest(content)[:16]}"'


def _checksum(content: bytes) -> str:
    return "SHA1:" + hashlib.sha1(content, usedforsecurity=False).hexdigest()


class _Gone(Exception):
    """The connection is no more."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is head and body in two writes, and a client must not wait between them.
    disable_nagle_algorithm = True
    server: _Server
    _mute = False

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (_Gone, OSError):
            self.close_connection = True

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path).rstrip("/")
        dav = self.server.dav
        request = Request(
            self.command,
            path,
            time.monotonic(),
            self.headers.get("Depth") or "",
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        fault = dav.fault_of(request)
        if fault is None:
            body = self._body(request)
            _ANSWERS.get(self.command, _Handler._unknown)(self, path, body)
        elif fault.kind is _Kind.STATUS:
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
        parts = []
        while request.received < wanted:
            part = self.rfile.read1(min(1 << 16, wanted - request.received))
            if not part:
                raise _Gone
            request.received += len(part)
            parts.append(part)
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
        elif fault.kind is _Kind.TRUNCATE or fault.after:
            first, size = self._range(len(content))
            self._head_of_content(first, size, len(content))
            self.wfile.write(content[first : max(first, min(first + size, fault.after))])
        if fault.kind is _Kind.STALL:
            self.server.dav.ended.wait()
        if fault.kind is _Kind.RESET:
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
        self.send_header("Content-Length", str(size))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{first + size - 1}/{whole}")
        self.end_headers()

    def _propfind(self, path: str, _: bytes) -> None:
        listed = self.server.dav.listing(path, self.headers.get("Depth") or "1")
        if listed is None:
            self._answer(404)
        else:
            listed = self.server.dav.rewrite(path, listed)
            self._answer(207, listed, ("Content-Type", "application/xml"))

    def _get(self, path: str, _: bytes) -> None:
        content = self.server.dav.files.get(path)
        if content is None:
            self._answer(404)
            return
        first, size = self._range(len(content))
        self._head_of_content(first, size, len(content))
        if self.command == "GET":
            self.wfile.write(content[first : first + size])

    def _put(self, path: str, body: bytes) -> None:
        dav = self.server.dav
        if path.rpartition("/")[0] not in dav.folders and "/uploads/" not in path:
            self._answer(409)
            return
        with dav.lock:
            if not self._condition_holds(path):
                self._answer(412)
                return
            there = path in dav.files
            dav.store(path, body, self._modified())
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
        return float(given) if given else None

    def _mkcol(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        if path in dav.folders or path in dav.files:
            self._answer(405)
        elif path.rpartition("/")[0] not in dav.folders and "/uploads/" not in path:
            self._answer(409)
        else:
            dav.folders.add(path)
            self._answer(201)

    def _delete(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        with dav.lock:
            if not self._condition_holds(path):
                self._answer(412)
                return
            names = {*dav.files, *dav.folders}
            gone = {name for name in names if f"{name}/".startswith(f"{path}/")}
            for name in gone:
                dav.files.pop(name, None)
                dav.folders.discard(name)
        self._answer(204 if gone else 404)

    def _move(self, path: str, _: bytes) -> None:
        dav = self.server.dav
        target = unquote(urlsplit(self.headers["Destination"]).path).rstrip("/")
        with dav.lock:
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
                if self.headers.get("Overwrite") == "F" and target in dav.files:
                    self._answer(412)
                    return
            content = b"".join(dav.files.pop(name) for name in names)
            if names:
                dav.store(target, content, self._modified())
        self._answer(201 if names else 404)

    def _patch(self, path: str, _: bytes) -> None:
        content = self.server.dav.files.get(path)
        if content is None or self.headers.get("X-Recalculate-Hash") != "sha1":
            self._answer(404 if content is None else 405)
        else:
            self._answer(204, b"", ("OC-Checksum", _checksum(content)))

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
    "PATCH": _Handler._patch,
}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, dav: Faulty) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dav = dav

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(*, ranges: bool = True, conditions: bool = True) -> Iterator[Faulty]:
    """The server, for the length of the block. `ranges`: whether it honours Range, and
    `conditions` If-Match and If-None-Match.
    """
    dav = Faulty(ranges=ranges, conditions=conditions)
    with _Server(dav) as server, servers.serving(server.serve_forever, server.shutdown):
        dav.url = f"http://127.0.0.1:{server.server_address[1]}"
        dav.folders |= {
            "/remote.php",
            "/remote.php/dav",
            "/remote.php/dav/files",
            NEXTCLOUD,
        }
        try:
            yield dav
        finally:
            dav.ended.set()
