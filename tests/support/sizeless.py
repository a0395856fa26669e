"""An HTTP server whose one file has no size: it sends it in chunks, without Content-Length."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support import storages


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        is_file = self.path == "/data/f.bin"
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if is_file else "text/html")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "GET":
            body = self.server.content if is_file else b'<a href="f.bin">f.bin</a>'
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[dict[str, Any]]:
    """An endpoint whose folder has the file `f.bin`, for the length of the block."""
    with (
        _Server(content) as server,
        storages.serving(lambda: server.serve_forever(0.02), server.shutdown),
    ):
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield {"type": "http", "parameters": {"url": url}, "path": "data/"}
