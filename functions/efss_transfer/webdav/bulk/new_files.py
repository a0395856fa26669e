"""Make sure that a file is new: a bulk request has no condition, and would replace another."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory, key, strong
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.writes.twins import Twins


class NewFiles:
    """Knowledge of which files the server lacks, at most a minute old."""

    def __init__(self, listings: Listings, memory: Memory, twins: Twins) -> None:
        self._listings = listings
        self._memory = memory
        self._twins = twins
        self._listing = asyncio.Lock()

    async def has(self, path: Segments) -> bool:
        """Return whether the server lacks a file. Lists its folder again after a minute."""
        if self._is_in_doubt(path):
            async with self._listing:
                if self._is_in_doubt(path):
                    await self._list(path[:-1])
        return self._memory.was_just_absent(path)

    def _is_in_doubt(self, path: Segments) -> bool:
        return self._memory.is_absent(path) and not self._memory.was_just_absent(path)

    async def _list(self, folder: Segments) -> None:
        dropped = self._memory.dropped
        try:
            async with aclosing(self._listings.read(folder, "1", folder=True)) as reading:
                async for entries in reading:
                    for one in entries:
                        if one.name is not None and not one.entry.collection:
                            path = (*folder, one.name)
                            self._memory.etags.put(key(path), strong(one.entry.get("getetag")))
                            self._twins.found(path)
        except (Failed, Refused, NoAnswer):
            self._memory.listed.pop(key(folder))
            return
        if self._memory.dropped == dropped:
            self._memory.has_listed(folder)
