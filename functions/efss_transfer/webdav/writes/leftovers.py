"""Remove what uploads left that were broken off, also those of gateways that were killed."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key, strong
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.writes.chunks import (
    ABANDONED_SECONDS,
    LONGEST_SECONDS,
    SKEW_SECONDS,
    Chunks,
)
from efss_transfer.webdav.writes.names import PARTIAL


class Leftovers:
    """Incomplete uploads at one server; `chunks` only where chunked uploads may be left."""

    def __init__(self, session: ServerSession, listings: Listings, chunks: Chunks | None) -> None:
        self._session = session
        self._listings = listings
        self._chunks = chunks

    async def tidy(self, folder: Segments, left: list[tuple[str, Entry]]) -> None:
        """Remove abandoned uploads: those that were not written to for 15 minutes.

        The first call removes abandoned chunked uploads as well.
        """
        if self._chunks is not None:
            chunks, self._chunks = self._chunks, None
            await chunks.tidy()
        now = time.time()
        for name, entry in left:
            found = PARTIAL.fullmatch(name)
            begun = int(found[1], 16) if found else now
            try:
                text = entry.get("getlastmodified") or ""
                written = parsedate_to_datetime(text).timestamp()
            except ValueError:
                written = 0.0
            # A time before the upload began is the file's own, set once all bytes have arrived.
            quiet = written > begun - SKEW_SECONDS and now - written > ABANDONED_SECONDS
            if quiet or now - begun > LONGEST_SECONDS:
                await self.remove((*folder, name))

    async def remove(self, aside: Segments) -> None:
        """Delete an incomplete upload, if possible."""
        call = Call("DELETE", self._listings.target(aside))
        try:
            async with self._session.call(call, key(aside)):
                pass
        except (Failed, Refused, NoAnswer):
            self._session.record.warn("partial_left", key(aside), "The incomplete file remains.")

    async def clear(self, path: Segments, length: int | None) -> None:
        """Delete a partial file that a broken upload left under a previously free name."""
        try:
            found = await self._listings.one(path, folder=False)
            etag = strong(found.entry.get("getetag")) if found else None
            if found is not None and found.size != length and etag:
                call = Call("DELETE", self._listings.target(path), {"If-Match": etag})
                async with self._session.call(call, key(path)):
                    pass
        except (Failed, Refused, NoAnswer):
            pass  # the next attempt detects it by its size
