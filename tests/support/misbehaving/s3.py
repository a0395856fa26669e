"""An S3 server that misbehaves: a gateway before moto's."""

from __future__ import annotations

import hashlib
import http.server
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote

import requests

from support.http_servers import HOP_BY_HOP, misbehaving, passed_on
from support.misbehaving.troubles import (
    ANSWERS,
    JSON,
    PAGE,
    READS,
    STORES,
    Kind,
    Troubles,
    changed,
    shortened,
)
from support.storages import Storage

_ERROR: Final = (
    b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>x</Message></Error>'
)
_DENIED: Final = (
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)
_NOTHING: Final = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
_DOCUMENTS: Final = {
    Kind.LISTING_PAGE: PAGE,
    Kind.LISTING_JSON: JSON,
    Kind.LISTING_EMPTY: _NOTHING,
}
_ENTRY: Final = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)

SOURCE_KINDS: Final = (
    Kind.LISTING_REFUSED,
    Kind.LISTING_CUT,
    Kind.LISTING_PAGE,
    Kind.LISTING_JSON,
    Kind.ENTRY_LONGER,
    Kind.ENTRY_SHORTER,
    Kind.ENTRY_ZERO,
    Kind.ENTRY_HASH,
    Kind.ENTRY_LOST,
    *READS,
    Kind.DELAY,
)
DESTINATION_KINDS: Final = (
    Kind.LISTING_REFUSED,
    Kind.LISTING_CUT,
    Kind.LISTING_PAGE,
    Kind.ENTRY_LOST,
    *STORES,
    *ANSWERS,
    Kind.DELAY,
)


@dataclass
class MisbehavingS3:
    """The gateway. The paths of its troubles are keys.

    `refuse` has a status for each method whose requests are refused, and `cuts_short` ends the
    connection in the middle of each file. `denies` says of a method and a key (empty for a bucket)
    whether the caller's key may not do that. `rename` is the key that a listing has for a key.
    """

    behind: Storage
    url: str = ""
    troubles: Troubles = field(default_factory=Troubles)
    refuse: dict[str, int] = field(default_factory=dict)
    cuts_short: bool = False
    denies: Callable[[str, str], bool] = lambda *_: False
    rename: Callable[[str], str] = lambda key: key

    @property
    def storage(self) -> Storage:
        """As the tests name a storage."""
        parameters = {**self.behind.parameters, "endpoint": self.url}
        return Storage("s3", parameters, self.behind.write, self.behind.hashes, self.behind.base)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Pass a request to the server behind, and its answer back."""
        path, _, query = handler.path.partition("?")
        key = unquote(path).strip("/").partition("/")[2]
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        if len(body) < length:
            return  # the client left: what is not whole is not stored
        if self.denies(handler.command, key):
            _reply(handler, 403, _DENIED, {"Content-Type": "application/xml"})
        elif (code := self.refuse.get(handler.command)) is not None:
            _reply(handler, code, _ERROR, {})
        elif not key:
            key = parse_qs(query).get("prefix", [""])[0].strip("/")
            self._list(handler, key, body)
        elif handler.command == "PUT":
            self._write(handler, key, body)
        else:
            self._read(handler, key, body)

    def _behind(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> requests.Response:
        return passed_on(handler, self.behind.details["url"] + handler.path, body)

    def _list(self, handler: http.server.BaseHTTPRequestHandler, key: str, body: bytes) -> None:
        self.troubles.pause(key)
        answer = self._behind(handler, body)
        listing = answer.content
        kinds = (Kind.LISTING_REFUSED, Kind.LISTING_CUT, *_DOCUMENTS)
        found = self.troubles.first(kinds, key) if answer.status_code == 200 else None
        if found is Kind.LISTING_REFUSED:
            _reply(handler, 503, _ERROR, {"Content-Type": "application/xml"})
        elif found is not None:
            sent = _DOCUMENTS.get(found) or shortened(listing)
            _reply(handler, 200, sent, answer.headers)
        else:
            text = _ENTRY.sub(lambda entry: self._entry(entry[0]), listing.decode())
            _reply(handler, answer.status_code, text.encode(), answer.headers)

    def _entry(self, entry: str) -> str:
        named = re.search(r"(?<=<Key>)[^<]*", entry)
        key = unquote(named[0]) if named else ""
        sized = re.search(r"(?<=<Size>)\d+", entry)
        size = int(sized[0]) if sized else 0
        if self.troubles.meets(Kind.ENTRY_LOST, key):
            return ""
        if (other := self.rename(key)) != key:
            entry = entry.replace(f"<Key>{key}<", f"<Key>{other}<")
        sizes = {Kind.ENTRY_LONGER: size + 7, Kind.ENTRY_SHORTER: size // 2, Kind.ENTRY_ZERO: 0}
        if (kind := self.troubles.first(sizes, key)) is not None:
            entry = re.sub(r"(?<=<Size>)\d+", str(sizes[kind]), entry)
        if self.troubles.meets(Kind.ENTRY_HASH, key):
            other = hashlib.md5(b"other", usedforsecurity=False).hexdigest()
            entry = re.sub(r"(?<=<ETag>).*(?=</ETag>)", f'"{other}"', entry)
        return entry

    def _read(self, handler: http.server.BaseHTTPRequestHandler, key: str, body: bytes) -> None:
        self.troubles.pause(key)
        answer = self._behind(handler, body)
        content = answer.content
        is_read = handler.command == "GET" and answer.status_code in (200, 206)
        found = self.troubles.first(READS, key) if is_read else None
        match Kind.READ_CUT if is_read and self.cuts_short else found:
            case Kind.READ_REFUSED:
                _reply(handler, 500, _ERROR, {})
            case Kind.READ_CUT:
                _reply(handler, answer.status_code, content, answer.headers, len(content) // 2)
            case Kind.READ_SHORT:
                _reply(handler, answer.status_code, shortened(content), answer.headers)
            case Kind.READ_CHANGED:
                _reply(handler, answer.status_code, changed(content), answer.headers)
            case _:
                length = answer.headers.get("Content-Length", "0")
                _reply(handler, answer.status_code, content, answer.headers, length=length)

    def _write(self, handler: http.server.BaseHTTPRequestHandler, key: str, body: bytes) -> None:
        folder = key.partition("/")[0]
        self.troubles.pause(folder)
        found = self.troubles.first((*STORES, *ANSWERS), folder)
        if found is Kind.WRITE_REFUSED:
            _reply(handler, 503, _ERROR, {})
            return
        if found is Kind.WRITE_LOST:
            told = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            _reply(handler, 200, b"", {"ETag": told})
            return
        if found in (Kind.WRITE_SHORT, Kind.WRITE_CHANGED):
            stored = shortened(body) if found is Kind.WRITE_SHORT else changed(body)
            for name in ("Content-MD5", "Content-Length", "x-amz-content-sha256"):
                del handler.headers[name]
            answer = self._behind(handler, stored)
        else:
            answer = self._behind(handler, body)
        if found is Kind.WRITE_UNANSWERED:
            _reply(handler, 503, _ERROR, {})
        else:
            _reply(handler, answer.status_code, answer.content, answer.headers)


def _reply(
    handler: http.server.BaseHTTPRequestHandler,
    code: int,
    body: bytes,
    headers: object,
    sent: int | None = None,
    length: str | None = None,
) -> None:
    """Answer; with `sent`, the connection ends after so many bytes of the body."""
    handler.send_response(code)
    for name, value in dict(headers).items():  # type: ignore[call-overload]
        if name.lower() not in HOP_BY_HOP:
            handler.send_header(name, value)
    told = length if length is not None and handler.command == "HEAD" else str(len(body))
    handler.send_header("Content-Length", told)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body if sent is None else body[:sent])
    if sent is not None:
        handler.close_connection = True


@contextmanager
def before(storage: Storage) -> Iterator[MisbehavingS3]:
    """The gateway before that server."""
    odd = MisbehavingS3(storage)
    with misbehaving(odd.answer) as url:
        odd.url = url
        yield odd
