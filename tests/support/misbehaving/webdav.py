"""A WebDAV server that misbehaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from support import storages as servers
from support.faulty_webdav import Fault, Faulty, Request, status, truncate
from support.faulty_webdav_handler import Server
from support.listings import with_status
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

_EMPTY: Final = b'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"/>'
_SIZES: Final = (Kind.ENTRY_LONGER, Kind.ENTRY_SHORTER, Kind.ENTRY_ZERO, Kind.ENTRY_SIZELESS)

_LISTINGS: Final = (
    Kind.LISTING_REFUSED,
    Kind.LISTING_CUT,
    Kind.LISTING_PAGE,
    Kind.LISTING_JSON,
    Kind.LISTING_EMPTY,
    Kind.DELAY,
)
SOURCE_KINDS: Final = (
    *_LISTINGS,
    Kind.ENTRY_BAD,
    Kind.ENTRY_FOREIGN,
    Kind.ENTRY_LONGER,
    Kind.ENTRY_SHORTER,
    Kind.ENTRY_ZERO,
    Kind.ENTRY_SIZELESS,
    Kind.ENTRY_LOST,
    *READS,
)
DESTINATION_KINDS: Final = (
    *_LISTINGS,
    Kind.ENTRY_BAD,
    Kind.ENTRY_LOST,
    *STORES,
    *ANSWERS,
)


@dataclass
class MisbehavingDav(Faulty):
    """The server; its paths begin with `/`, those of its troubles do not.

    `cuts_short` ends the connection in the middle of each file.
    """

    troubles: Troubles = field(default_factory=Troubles)
    cuts_short: bool = False

    def fault_of(self, request: Request) -> Fault | None:
        if (planned := super().fault_of(request)) is not None:
            return planned
        path = request.path.strip("/")
        self.troubles.pause(path)
        if request.method == "PROPFIND" and self.troubles.meets(Kind.LISTING_REFUSED, path):
            return status(503)
        if request.method == "GET" and path:
            if self.troubles.meets(Kind.READ_REFUSED, path):
                return status(500)
            if self.cuts_short or self.troubles.meets(Kind.READ_CUT, path):
                return truncate(len(self.files.get(request.path, b"")) // 2)
        if request.method == "PUT":
            if self.troubles.meets(Kind.WRITE_REFUSED, self._target(path)):
                return status(503)
            if self.troubles.meets(Kind.WRITE_UNANSWERED, self._target(path)):
                return status(504, carried_out=True)
        return None

    def read(self, path: str) -> bytes | None:
        content = super().read(path)
        found = self.troubles.first((Kind.READ_SHORT, Kind.READ_CHANGED), path.strip("/"))
        if content is None or found is None:
            return content
        return shortened(content) if found is Kind.READ_SHORT else changed(content)

    def receive(self, path: str, content: bytes, modified: float | None) -> None:
        """Store what was uploaded."""
        kinds = (Kind.WRITE_SHORT, Kind.WRITE_CHANGED, Kind.WRITE_LOST)
        found = self.troubles.first(kinds, self._target(path))
        if found is Kind.WRITE_LOST:
            return
        if found is not None:
            content = shortened(content) if found is Kind.WRITE_SHORT else changed(content)
        self.store(path, content, modified)

    def _target(self, path: str) -> str:
        """The folder that is written to: what is written beside a file counts for it."""
        return path.strip("/").partition("/")[0]

    def listed(self, path: str, body: bytes) -> bytes:
        """A listing as it is sent."""
        relative = path.strip("/")
        kinds = (Kind.LISTING_CUT, Kind.LISTING_PAGE, Kind.LISTING_JSON, Kind.LISTING_EMPTY)
        match self.troubles.first(kinds, relative):
            case Kind.LISTING_CUT:
                return shortened(body)
            case Kind.LISTING_PAGE:
                return PAGE
            case Kind.LISTING_JSON:
                return JSON
            case Kind.LISTING_EMPTY:
                return _EMPTY
        for href in re.findall(rb"(?<=<d:response><d:href>)[^<]*[^/<](?=<)", body):
            body = self._entry(href.decode(), body)
        return body

    def _entry(self, href: str, body: bytes) -> bytes:
        name = href.strip("/")
        if self.troubles.meets(Kind.ENTRY_BAD, name):
            return with_status(body, href, 500, "propstat")
        begin = body.index(b"<d:response><d:href>%s<" % href.encode())
        end = body.index(b"</d:response>", begin) + len(b"</d:response>")
        entry = body[begin:end]
        if self.troubles.meets(Kind.ENTRY_LOST, name):
            entry = b""
        if self.troubles.meets(Kind.ENTRY_FOREIGN, name):
            entry = entry.replace(href.encode(), b"/elsewhere/foreign.bin")
        if (kind := self.troubles.first(_SIZES, name)) is not None:
            size = len(self.files[href])
            told = {
                Kind.ENTRY_LONGER: b"%d" % (size + 7),
                Kind.ENTRY_SHORTER: b"%d" % (size // 2),
                Kind.ENTRY_ZERO: b"0",
            }.get(kind, b"")
            entry = re.sub(rb"(?<=contentlength>)\d+", lambda _: told, entry)
        return body[:begin] + entry + body[end:]


@contextmanager
def serving() -> Iterator[MisbehavingDav]:
    """The server, for the length of the block."""
    dav = MisbehavingDav()
    dav.rewrite = dav.listed
    with Server(dav) as server, servers.serving(server.serve_forever, server.shutdown):
        dav.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield dav
        finally:
            dav.ended.set()
