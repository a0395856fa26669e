"""Collect reads of small files into batches, each of which is answered from one archive.

A batch leaves when it is full, when as many files wait as ever waited at a time, or when no file
has arrived for a moment: so no number of transfers can stall it. While one is under way another
leaves only if it is large enough to be worth a request, and what waits too long beside one goes the
plain way. So does a file that is alone for a moment, and if that happens again, at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from efss_transfer.webdav.archives.known_files import KnownFile
from efss_transfer.webdav.bulk.batch_queue import BatchQueue, resolve
from efss_transfer.webdav.paths import Segments

_IDLE_SECONDS: Final = 0.01
_LONGEST_SECONDS: Final = 2.0
_FEWEST_FILES: Final = 2
_FEWEST_BESIDE: Final = 8
_MOST_LONELY: Final = 2


@dataclass(eq=False)
class Wanted:
    """A file that the engine waits for since a time of the event loop's clock. The answer is its
    content, or None if it must be read by itself.
    """

    path: Segments
    listed: KnownFile
    answer: asyncio.Future[bytes | None]
    since: float


Fetch = Callable[[Sequence[Wanted]], Coroutine[Any, Any, None]]
"""Function that sets the contents of the files that one archive brings."""

Choose = Callable[[Sequence[Wanted]], list[Wanted]]
"""Function that chooses from the waiting files those that go into the next archive."""


class ReadBatches(BatchQueue[Wanted]):
    """Batches of the reads of one gateway. `most_at_once` tells how many may be under way."""

    def __init__(self, fetch: Fetch, choose: Choose, most_at_once: Callable[[], int]) -> None:
        super().__init__()
        self._most_at_once = most_at_once
        self._fetch = fetch
        self._choose = choose
        self._lonely = 0
        self._in_flight = 0

    @asynccontextmanager
    async def reading(self, path: Segments, listed: KnownFile) -> AsyncIterator[bytes | None]:
        """Answer a read of a file in the block, whose value is the file's content.

        None if it was not read with others, and so must be read by itself in the block.
        """
        self._in_flight += 1
        try:
            is_alone = self._in_flight < _FEWEST_FILES and self._lonely >= _MOST_LONELY
            yield None if is_alone else await self._read(path, listed)
        finally:
            self._in_flight -= 1

    async def _read(self, path: Segments, listed: KnownFile) -> bytes | None:
        loop = asyncio.get_running_loop()
        wanted = Wanted(path, listed, loop.create_future(), loop.time())
        await self._answered(wanted)
        return wanted.answer.result()

    def _set_timer(self) -> asyncio.TimerHandle | None:
        loop = asyncio.get_running_loop()
        if not self._sent:
            return loop.call_later(_IDLE_SECONDS, self._hurry)
        left = self._waiting[0].since + _LONGEST_SECONDS - loop.time()
        return loop.call_later(left, self._give_back)

    def _give_back(self) -> None:
        """Let what waits be read by itself: what is under way takes too long."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            resolve(one, None)

    def _hurry(self) -> None:
        """Send what waits; nothing has come for a moment."""
        self._depart()
        self._look()

    def _may_leave(self) -> bool:
        if self._sent:
            is_worth_it = len(self._choose(self._waiting)) >= _FEWEST_BESIDE
            return is_worth_it and len(self._sent) < self._most_at_once()
        return len(self._waiting) >= self._most_waiting > 1

    def _depart(self) -> None:
        under_way = sum(not one.answer.done() for batch in self._sent.values() for one in batch)
        self._most_waiting = max(self._most_waiting, under_way + len(self._waiting))
        batch = self._choose(self._waiting)
        self._waiting = [one for one in self._waiting if one not in batch]
        if len(batch) < _FEWEST_FILES:
            self._lonely += 1
            self._most_waiting = self._most_waiting if self._lonely < _MOST_LONELY else 0
            for one in batch:
                resolve(one, None)
            return
        self._lonely = 0
        self._begin(batch, self._fetch(batch))
