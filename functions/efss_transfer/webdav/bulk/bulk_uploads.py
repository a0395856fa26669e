"""Upload small new files with others, in bulk requests, where the server takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from efss_transfer.webdav.bulk import parts
from efss_transfer.webdav.bulk.batches import Batches
from efss_transfer.webdav.bulk.capabilities import Capabilities
from efss_transfer.webdav.bulk.new_files import NewFiles
from efss_transfer.webdav.bulk.offer import Offer
from efss_transfer.webdav.bulk.parts import BulkFile
from efss_transfer.webdav.bulk.sender import Sender
from efss_transfer.webdav.http.exchange import Held, Upload
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.writes.kept import Kept
from efss_transfer.webdav.writes.twins import Twins

LARGEST: Final = 1 << 17
"""Largest file that is sent with others: as large as those that are held in memory anyway."""


class BulkUploads:
    """Bulk uploads of one gateway; with `is_on` false, all files go the plain way."""

    def __init__(
        self,
        session: ServerSession,
        listings: Listings,
        memory: Memory,
        twins: Twins,
        *,
        is_on: bool,
    ) -> None:
        self._record = session.record
        self.capabilities = Capabilities(session)
        self._offer = Offer(session, self.capabilities)
        if not is_on:
            self._offer.withdraw()
        self._new_files = NewFiles(listings, memory, twins)
        sender = Sender(session, listings, self._offer)
        self._batches = Batches(sender.send, lambda: sender.most_bytes)
        self.making_folder = self._batches.making_folder
        self._small: set[Segments] = set()

    @property
    def is_possible(self) -> bool:
        """Whether files may be sent together, and the server has refused none such."""
        return self._offer.is_possible

    async def are_taken(self) -> bool:
        """Ask the server once whether it takes bulk uploads."""
        return await self._offer.holds()

    @contextmanager
    def under_way(self, path: Segments) -> Iterator[None]:
        """Upload a file, of any kind and in any way, in the block."""
        try:
            yield
        finally:
            self._small.discard(path)

    async def store(
        self, path: Segments, upload: Upload, headers: Mapping[str, str]
    ) -> Kept | None:
        """Store a file with others. None if it must go the plain way."""
        if not self._offer.is_possible or not isinstance(upload, Held):
            return None
        file = BulkFile(path, self._offer.name(path), upload, headers.get("x-oc-mtime"))
        if file.size > LARGEST or not parts.may_carry(file.name, file.modified):
            return None
        self._small.add(path)
        # One that is alone, be it beside large ones, would wait for others in vain.
        if len(self._small) == 1 or not await self._new_files.has(path):
            return None
        etag = await self._batches.store(file)
        if etag is None:
            return None
        self._record.bulk_uploads += 1
        return Kept(f'"{etag}"', keeps_time=True, in_bulk=True)

    async def ended(self) -> None:
        """End what is still under way, once all requests have ended."""
        await self._batches.ended()
