"""A gateway before an S3 server that changes its listings, as some S3 gateways write them.

with odd_s3.before(s3) as odd:
    odd.rewrite = lambda key: key.replace("data/", "Data/")
    function.copy(odd.endpoint("data"), …)
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape, unescape

from support.http_servers import HOP_BY_HOP, misbehaving, passed_on, reply
from support.storages import Storage

_ETAG = re.compile(r"(?<=<ETag>&quot;)[^&]*|(?<=<ETag>\")[^\"<]*")
_ENTRY = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
_NAME = re.compile(r"(?<=<Key>)[^<]*")
_KEY = re.compile(r"(?<=<Key>)[^<]*(?=</Key>)|(?<=<Prefix>)[^<]+(?=</Prefix></CommonPrefixes>)")
_BAD_DIGEST = (
    b"<Error><Code>BadDigest</Code><Message>The Content-MD5 you specified did not match what we "
    b"received.</Message></Error>"
)


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@dataclass
class OddS3:
    """The gateway. `rewrite` changes each key of a listing; `encodes`: whether it honours
    `encoding-type=url`; `filters`: whether it honours `prefix`; `keeps_metadata`: whether it keeps
    x-amz-meta-…. `etag` changes the ETag of each key, and `store` what an upload stores. What it
    calls `bucket` is called `behind` by the server behind. `copies` is the status of each
    CopyObject, if it is refused; `checks`: whether an upload is refused that has another
    Content-MD5.
    """

    storage: Storage
    url: str = ""
    rewrite: Callable[[str], str] = lambda key: key
    encodes: bool = True
    filters: bool = True
    behind: str = "bucket"
    copies: int = 200
    seen: list[str] = field(default_factory=list)
    keeps_metadata: bool = True
    checks: bool = False
    etag: Callable[[str, str], str] = lambda _, etag: etag
    store: Callable[[bytes], bytes] = lambda body: body

    def endpoint(self, path: str, **changes: Any) -> dict[str, Any]:
        """As a request names it."""
        return self.storage.endpoint(path, endpoint=self.url, **changes)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Pass a request to the server behind, and its answer back."""
        self.seen.append(f"{handler.command} {handler.path}")
        path, _, query = handler.path.partition("?")
        path = re.sub(r"^/bucket(?=/|$)", f"/{self.behind}", path)
        is_listing = "max-keys=" in query
        if is_listing and not self.encodes:
            query = re.sub(r"(^|&)encoding-type=url", "", query)
        if is_listing and not self.filters:
            query = re.sub(r"(^|&)(prefix|delimiter)=[^&]*", "", query)
        if self.copies != 200 and handler.headers.get("x-amz-copy-source"):
            reply(handler, self.copies)
            return
        length = int(handler.headers.get("Content-Length") or 0)
        url = f"{self.storage.details['url']}{path}?{query}"
        sent = handler.rfile.read(length)
        if self.checks and handler.headers.get("Content-MD5", _md5(sent)) != _md5(sent):
            handler.send_response(400)
            handler.send_header("Content-Length", str(len(_BAD_DIGEST)))
            handler.end_headers()
            handler.wfile.write(_BAD_DIGEST)
            return
        answer = passed_on(handler, url, self._stored(handler, sent))
        body = answer.content
        if is_listing and answer.status_code == 200:
            body = _KEY.sub(
                lambda found: escape(self.rewrite(unescape(found[0]))), body.decode()
            ).encode()
        if is_listing:
            body = _ENTRY.sub(lambda entry: self._entry(entry[0]), body.decode()).encode()
        handler.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                key = unquote(path).removeprefix(f"/{self.behind}/")
                odd = f'"{self.etag(key, value.strip(chr(34)))}"'
                odd = odd if name.lower() == "etag" else value
                handler.send_header(name, odd)
        told = answer.headers.get("Content-Length", "0") if handler.command == "HEAD" else len(body)
        handler.send_header("Content-Length", str(told))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def _entry(self, entry: str) -> str:
        """An entry of a listing, with its ETag changed."""
        name = _NAME.search(entry)
        key = unquote(unescape(name[0])) if name else ""
        return _ETAG.sub(lambda found: self.etag(key, found[0]), entry)

    def _stored(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> bytes:
        """What is stored of a request's body; its headers are changed accordingly."""
        headers = handler.headers
        if not self.keeps_metadata:
            for name in {it for it in headers if it.lower().startswith("x-amz-meta-")}:
                del headers[name]
        content = self.store(body) if handler.command == "PUT" else body
        if content != body:
            del headers["Content-MD5"]
        return content


@contextmanager
def before(storage: Storage) -> Iterator[OddS3]:
    """A gateway before that server."""
    odd = OddS3(storage)
    with misbehaving(odd.answer) as url:
        odd.url = url
        yield odd
