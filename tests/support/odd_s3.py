"""A gateway before an S3 server that changes its listings, as some S3 gateways write them.

with odd_s3.before(s3) as odd:
    odd.rewrite = lambda key: key.replace("data/", "Data/")
    function.copy(odd.endpoint("data"), …)
"""

from __future__ import annotations

import http.server
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, unescape

from support.http_servers import HOP_BY_HOP, misbehaving, passed_on
from support.storages import Storage

_KEY = re.compile(r"(?<=<Key>)[^<]*(?=</Key>)|(?<=<Prefix>)[^<]+(?=</Prefix></CommonPrefixes>)")


@dataclass
class OddS3:
    """The gateway. `rewrite` changes each key of a listing; `encodes`: whether it honours
    `encoding-type=url`; `filters`: whether it honours `prefix`. What it calls `bucket` is called
    `behind` by the server behind.
    """

    storage: Storage
    url: str = ""
    rewrite: Callable[[str], str] = lambda key: key
    encodes: bool = True
    filters: bool = True
    behind: str = "bucket"

    def endpoint(self, path: str, **changes: Any) -> dict[str, Any]:
        """As a request names it."""
        return self.storage.endpoint(path, endpoint=self.url, **changes)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Pass a request to the server behind, and its answer back."""
        path, _, query = handler.path.partition("?")
        path = re.sub(r"^/bucket(?=/|$)", f"/{self.behind}", path)
        is_listing = "max-keys=" in query
        if is_listing and not self.encodes:
            query = re.sub(r"(^|&)encoding-type=url", "", query)
        if is_listing and not self.filters:
            query = re.sub(r"(^|&)(prefix|delimiter)=[^&]*", "", query)
        length = int(handler.headers.get("Content-Length") or 0)
        url = f"{self.storage.details['url']}{path}?{query}"
        answer = passed_on(handler, url, handler.rfile.read(length))
        body = answer.content
        if is_listing and answer.status_code == 200:
            body = _KEY.sub(
                lambda found: escape(self.rewrite(unescape(found[0]))), body.decode()
            ).encode()
        handler.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                handler.send_header(name, value)
        told = answer.headers.get("Content-Length", "0") if handler.command == "HEAD" else len(body)
        handler.send_header("Content-Length", str(told))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)


@contextmanager
def before(storage: Storage) -> Iterator[OddS3]:
    """A gateway before that server."""
    odd = OddS3(storage)
    with misbehaving(odd.answer) as url:
        odd.url = url
        yield odd
