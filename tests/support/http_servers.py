"""HTTP servers that answer as a test says: a WebDAV source made of functions, and a slow one."""

from __future__ import annotations

import http.server
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from support.storages import Storage, serving

HOP_BY_HOP: Final = frozenset(
    {"connection", "transfer-encoding", "content-encoding", "content-length"}
)
"""Headers of an answer that a gateway writes itself, in lower case."""


def passed_on(
    handler: http.server.BaseHTTPRequestHandler, url: str, body: bytes
) -> requests.Response:
    """What the server behind a gateway answers to a request at that URL."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            handler.command,
            url,
            headers={k: v for k, v in handler.headers.items() if k.lower() != "connection"},
            data=body,
            timeout=30,
        )


@contextmanager
def misbehaving(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None],
    tls: ssl.SSLContext | None = None,
    address: str = "127.0.0.1",
) -> Iterator[str]:
    """An HTTP server, or one of HTTPS, that answers every request as it is told; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return lambda: answer(self)
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass

    with Server((address, 0), Handler) as server:
        if tls is not None:
            # Each handshake in its client's own thread, when that first reads.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        with serving(lambda: server.serve_forever(0.02), server.shutdown):
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://{address}:{server.server_address[1]}"


@contextmanager
def slow_source(size: int, bytes_per_second: int, files: int = 1) -> Iterator[Storage]:
    """A WebDAV server with a folder of files of `size` zeros, each of which it sends at
    that rate: a copy that is surely still going on. The paths that it was asked for are in its
    details, as `begun`."""
    begun: list[str] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND":
            inside = [f"/data/{number}.bin" for number in range(files)]
            if path == "/data":
                shown = ["/data/", *(inside if handler.headers.get("Depth") == "1" else [])]
            else:
                shown = [path] if path in inside else []
            reply(
                handler, 207 if shown else 404, multistatus(dict.fromkeys(shown, size)), "text/xml"
            )
        elif handler.command == "GET":
            begun.append(path)
            handler.send_response(200)
            handler.send_header("Content-Length", str(size))
            handler.end_headers()
            piece = bytes(max(1, bytes_per_second // 20))
            for _ in range(0, size, len(piece)):
                handler.wfile.write(piece)
                time.sleep(0.05)
        else:
            reply(handler, 405)

    with misbehaving(answer) as url:
        yield Storage(
            "webdav",
            {"url": url, "vendor": "other"},
            _read_only,
            _read_only,
            details={"begun": begun},
        )


@contextmanager
def tls_source(certificate: Path, key: Path) -> Iterator[str]:
    """A WebDAV server with TLS, and the file `data/f.txt`; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND" and path == "/data":
            there = {"/data/": 0, "/data/f.txt": 4}
            if handler.headers.get("Depth") == "0":
                there = {"/data/": 0}
            reply(handler, 207, multistatus(there), "text/xml")
        elif handler.command == "GET" and path == "/data/f.txt":
            reply(handler, 200, b"text")
        else:
            reply(handler, 404)

    with misbehaving(answer, context) as url:
        yield url


def _read_only(*_: object) -> Any:
    raise AssertionError("this storage is only copied from")


def multistatus(entries: dict[str, int]) -> bytes:
    """What a WebDAV server answers to PROPFIND; a path that ends with / is a folder."""
    responses = "".join(
        f"<d:response><d:href>{path}</d:href><d:propstat><d:prop>"
        + (
            "<d:resourcetype><d:collection/></d:resourcetype>"
            if path.endswith("/")
            else f"<d:resourcetype/><d:getcontentlength>{size}</d:getcontentlength>"
        )
        + "<d:getlastmodified>Sun, 22 Nov 2026 16:00:00 GMT</d:getlastmodified></d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        for path, size in entries.items()
    )
    return (
        f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{responses}</d:multistatus>'.encode()
    )


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"",
    kind: str = "text/plain",
) -> None:
    """Answer with that, after reading what the request brought."""
    handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
