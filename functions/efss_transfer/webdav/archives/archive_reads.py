"""Read small files with others, from archives, where the server makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from efss_transfer.webdav.archives.archiver import Archiver
from efss_transfer.webdav.archives.batches import ReadBatches
from efss_transfer.webdav.archives.fetcher import Fetcher
from efss_transfer.webdav.archives.identified_files import IdentifiedFiles
from efss_transfer.webdav.archives.known_files import KnownFiles, may_be_named
from efss_transfer.webdav.archives.plans import Planner
from efss_transfer.webdav.archives.read_ahead import ReadAhead
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import ServerSession


class ArchiveReads:
    """Reads from archives at one server.

    `room` is how many bytes may be kept of what listings say about files. With none, all files are
    read by themselves.
    """

    def __init__(
        self,
        session: ServerSession,
        listings: Listings,
        budget: Budget,
        room: int,
        dialect: Dialect,
    ) -> None:
        room = room if dialect.archives or dialect.archiver else 0
        self._record = session.record
        fetcher = Fetcher(session, listings, budget)
        self._fetcher: Fetcher | Archiver
        self.listed: KnownFiles
        if dialect.archiver:
            self._fetcher, self.listed = Archiver(session, budget), IdentifiedFiles(room)
        else:
            self._fetcher, self.listed = fetcher, KnownFiles(room // 2, room // 2)
        self._fetcher.is_possible = room > 0
        self._batches = ReadBatches(
            self._fetcher.fetch, self._fetcher.choose, lambda: self._fetcher.most_at_once
        )
        planner = Planner(self.listed, lambda path: len(listings.target(path, folder=True)))
        self.ahead = ReadAhead(fetcher, planner, budget, session.record)

    @property
    def is_possible(self) -> bool:
        """Whether files may be read from archives, and none has been found useless."""
        return self._fetcher.is_possible

    @asynccontextmanager
    async def reading(self, path: Segments) -> AsyncIterator[bytes | None]:
        """Answer a read of a file in the block, whose value is its content as the server has it.

        None if it must be read by itself in the block.
        """
        listed = self.listed.find(path) if self._fetcher.is_possible else None
        if listed is None or not all(map(may_be_named, path)):
            yield None
            return
        if (ahead := self.ahead.find(path, listed)) is not None:
            content = await asyncio.shield(ahead)
            self._record.bulk_downloads += content is not None
            yield content
            return
        async with self._batches.reading(path, listed) as content:
            self._record.bulk_downloads += content is not None
            yield content

    def clear(self) -> None:
        """Forget what was listed, and read nothing ahead from now on."""
        self.listed.clear()
        self.ahead.close()

    async def ended(self) -> None:
        """End what is still under way, once all requests have ended."""
        await self.ahead.ended()
        await self._batches.ended()
