"""Collect files into batches, and hold each until its batch is answered.

A batch leaves when it is full, when as many files wait as ever waited at a time, or when no file
has arrived for a moment: so no number of transfers can stall it. A second one leaves beside it
only if it is worth a request, and never a third, because a server locks the folders that it writes
to. Where many files wait at a time, each of the two takes half of them: a server with two
processors needs half the time. A single file waits a little longer for another one, and all do
while a folder is being made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from efss_transfer.webdav.bulk.batch_queue import BatchQueue, resolve
from efss_transfer.webdav.bulk.parts import BulkFile

Send = Callable[[list[BulkFile]], Awaitable[dict[str, str]]]
"""Function that sends a batch and returns the ETags of the stored files by their names."""

_IDLE_SECONDS: Final = 0.03
_SINGLE_SECONDS: Final = 0.1
_FOLDER_SECONDS: Final = 0.5
_MOST_AT_ONCE: Final = 2
_FEWEST_FILES: Final = 2
_FEWEST_BESIDE: Final = 8
_FEWEST_HALF: Final = 16
_MOST_FILES: Final = 100  # as Nextcloud's own client
_FIRST_FILES: Final = 25
# Proxies often give up a request after a minute.
_SECONDS: Final = 10.0


@dataclass(eq=False)
class _FileInBatch:
    """A file, whose answer is its ETag, or None if it was not stored."""

    file: BulkFile
    answer: asyncio.Future[str | None]


class Batches(BatchQueue[_FileInBatch]):
    """Batches of one gateway. `most_bytes` tells how many bytes one may carry."""

    def __init__(self, send: Send, most_bytes: Callable[[], int]) -> None:
        super().__init__()
        self._send = send
        self._most_bytes = most_bytes
        self._most_files = _FIRST_FILES
        self._folders = 0

    async def store(self, file: BulkFile) -> str | None:
        """Store a file with others; return its ETag, or None if it was not stored."""
        waiting = _FileInBatch(file, asyncio.get_running_loop().create_future())
        await self._answered(waiting)
        return waiting.answer.result()

    @contextmanager
    def making_folder(self) -> Iterator[None]:
        """Tell for the length of the block that the first file of a folder is to come."""
        self._folders += 1
        try:
            yield
        finally:
            self._folders -= 1

    def _set_timer(self) -> asyncio.TimerHandle | None:
        if self._sent and not self._may_leave_beside:
            return None
        loop = asyncio.get_running_loop()
        return loop.call_later(_IDLE_SECONDS, self._hurry, loop.time())

    def _hurry(self, since: float) -> None:
        """Send what waits, unless it is worth waiting for more; nothing has come since then."""
        loop = asyncio.get_running_loop()
        waited = loop.time() - since
        is_single = len(self._waiting) < _FEWEST_FILES
        if (self._folders and waited < _FOLDER_SECONDS) or (is_single and waited < _SINGLE_SECONDS):
            self._timer = loop.call_later(_IDLE_SECONDS, self._hurry, since)
            return
        self._depart()
        self._look()

    def _may_leave(self) -> bool:
        if self._is_full():
            return len(self._sent) < _MOST_AT_ONCE
        return not self._sent and len(self._waiting) >= self._most_waiting > 1

    @property
    def _may_leave_beside(self) -> bool:
        return len(self._sent) < _MOST_AT_ONCE and len(self._waiting) >= _FEWEST_BESIDE

    @property
    def _most_in_one(self) -> int:
        half = self._most_waiting // 2
        return min(half, self._most_files) if half >= _FEWEST_HALF else self._most_files

    def _is_full(self) -> bool:
        size = sum(one.file.size for one in self._waiting)
        return len(self._waiting) >= self._most_in_one or size >= self._most_bytes()

    def _depart(self) -> None:
        self._waiting = [one for one in self._waiting if not one.answer.done()]
        under_way = sum(len(batch) for batch in self._sent.values())
        self._most_waiting = max(self._most_waiting, under_way + len(self._waiting))
        batch: list[_FileInBatch] = []
        size = 0
        for one in self._waiting[: self._most_in_one]:
            size += one.file.size
            if batch and size > self._most_bytes():
                break
            batch.append(one)
        del self._waiting[: len(batch)]
        if len(batch) < _FEWEST_FILES:
            for one in batch:
                resolve(one, None)  # one file costs no less here
            return
        self._begin(batch, self._fly(batch))

    async def _fly(self, batch: list[_FileInBatch]) -> None:
        begun = time.monotonic()
        stored = await self._send([one.file for one in batch])
        for one in batch:
            resolve(one, stored.get(one.file.name))
        seconds = (time.monotonic() - begun) / len(batch)
        fitting = int(_SECONDS / seconds) if seconds else _MOST_FILES
        self._most_files = max(_FEWEST_FILES, min(fitting, _MOST_FILES))
