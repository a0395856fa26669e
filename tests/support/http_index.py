"""A web server with an index of its files, as people put data on the web: a source of type `http`.

with http_index.serving({"data/a.txt": b"1", "data/sub/b.txt": b"2"}) as index:
    index.fail = lambda method, path: 403 if (method, path) == ("HEAD", "/data/a.txt") else 0
    function.copy(index.endpoint("data/"), …)
"""

from __future__ import annotations

import http.server
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from support.http_servers import misbehaving


@dataclass
class Index:
    """The server. `fail` returns the status of a request that fails, or 0; `links` are added to
    each index. `slashes`: whether links to folders end in `/`. `pages` are the files of HTML, and
    `encodings` the Content-Encoding of files that are sent with one. `cuts_short`: whether the
    connection ends in the middle of each file, and at once where the rest is asked for; a server
    that `ignores_range` sends the first half again. `rewrite` changes the index of a path and
    query, and a server that is `old` ends it with the connection.
    """

    files: dict[str, bytes]
    url: str = ""
    slashes: bool = True
    links: tuple[str, ...] = ()
    pages: set[str] = field(default_factory=set)
    encodings: dict[str, str] = field(default_factory=dict)
    cuts_short: bool = False
    ignores_range: bool = False
    fail: Callable[[str, str], int] = lambda _method, _path: 0
    rewrite: Callable[[str, str, bytes], bytes] = lambda _path, _query, page: page
    old: bool = False
    seen: list[tuple[str, str]] = field(default_factory=list)

    def endpoint(self, path: str) -> dict[str, Any]:
        """As a request names it."""
        return {"type": "http", "parameters": {"url": self.url}, "path": path}

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        raw, _, query = handler.path.partition("?")
        path = unquote(raw)
        status = self.fail(handler.command, path)
        self.seen.append((handler.command, path))
        content = self.files.get(path.strip("/")) if not path.endswith("/") else None
        inside = f"{path.strip('/')}/" if path.strip("/") else ""
        names = {it.removeprefix(inside) for it in self.files if it.startswith(inside)}
        if status:
            _send(handler, status, b"", "text/plain")
        elif content is not None:
            name = path.strip("/")
            kind = "text/html" if name in self.pages else "application/octet-stream"
            encoding = self.encodings.get(name)
            headers = {"Content-Encoding": encoding} if encoding is not None else {}
            asked = handler.headers.get("Range", "").removeprefix("bytes=").partition("-")
            sent, begin = None, 0
            if self.cuts_short:
                begin = 0 if self.ignores_range else int(asked[0] or 0)
                sent = 0 if begin else len(content) // 2
                if begin:
                    headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            _send(handler, 206 if begin else 200, content[begin:], kind, sent, headers)
        elif not names:
            _send(handler, 404, b"", "text/plain")
        elif path.endswith("/"):
            page = self.rewrite(path, query, self._page(names))
            _send(handler, 200, page, "text/html; charset=utf-8", ends_it=self.old)
        else:
            _send(handler, 301, b"", "text/plain", headers={"Location": quote(f"{path}/")})

    def _page(self, names: set[str]) -> bytes:
        shown = {
            name.partition("/")[0] + ("/" if "/" in name and self.slashes else "") for name in names
        }
        links = [quote(name) for name in sorted(shown)] + list(self.links)
        items = "".join(f'<li><a href="{escape(link)}">{escape(link)}</a>' for link in links)
        return f'<html><body><ul><li><a href="../">..</a>{items}</ul></body></html>'.encode()


def _send(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    kind: str,
    sent: int | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    ends_it: bool = False,
) -> None:
    if ends_it:
        handler.protocol_version = "HTTP/1.0"
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    if not ends_it:
        handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body[:sent])
    handler.close_connection |= ends_it or sent is not None


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Index]:
    """The server, with these files."""
    index = Index(dict(files))
    with misbehaving(index.answer) as url:
        index.url = url
        yield index
