"""Read files before the engine asks for them, where it is known that it will.

Bytes are kept for a minute, in the part of the memory that nobody else wants, and handed out once:
only while the listing still says of the file what it said when its archive was asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from efss_transfer.webdav.archives.batches import Wanted
from efss_transfer.webdav.archives.fetcher import Fetcher
from efss_transfer.webdav.archives.known_files import KnownFile
from efss_transfer.webdav.archives.plans import FILE_BYTES, ArchivePlan, Planner
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.bulk.batch_queue import resolve
from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.words import Record

_KEPT_SECONDS: Final = 60.0
_MOST_AT_ONCE: Final = 2
_MOST_FAILURES: Final = 2
# Files that were read, or are to be, and that the engine has not yet asked for: while they are
# fewer, another archive is asked for. That is some more than it has in flight.
_ENOUGH_AHEAD: Final = 200


@dataclass(frozen=True, slots=True)
class _Kept:
    """Content of a file of which the listing says `listed`; it arrived at a time of the clock."""

    content: bytes
    listed: KnownFile
    at: float


class ReadAhead:
    """Files that one source sends ahead. Nothing is read ahead before `open`, and after `close`.

    `record` counts the bytes that were read in vain.
    """

    def __init__(self, fetcher: Fetcher, planner: Planner, budget: Budget, record: Record) -> None:
        self._fetcher = fetcher
        self._planner = planner
        self._budget = budget
        self._record = record
        self._is_open = False
        self._failures = 0
        # The file that the next archive begins with.
        self._following: Segments | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._arriving: dict[str, Wanted] = {}
        self._asked: set[str] = set()
        # Files that an archive has not brought as it should: each is read by itself.
        self._failed: Recent[bool] = Recent(1 << 17)
        self._tasks: set[asyncio.Task[None]] = set()
        self._first = asyncio.Lock()
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        budget.add_dropper(self._drop)

    def open(self, root: Segments) -> None:
        """Read ahead from now on: all below a folder is wanted."""
        self._planner.root = root
        self._is_open = True

    def close(self) -> None:
        """Read ahead no more, and forget what was read."""
        self._is_open = False
        self._following = None
        self._planner.forget()
        self._failed.clear()
        while self._drop():
            pass

    def find(self, path: Segments, listed: KnownFile) -> asyncio.Future[bytes | None] | None:
        """Return the content of a file that was read ahead, or is to be now.

        The future's result is None for a file that must be read by itself. None in its place if
        nothing is said of the file here.
        """
        if not self._is_open:
            return None
        name, done = key(path), asyncio.get_running_loop().create_future()
        if self._failed.pop(name):
            done.set_result(None)
            return done
        if (kept := self._kept.pop(name, None)) is not None:
            self._budget.release(len(kept.content) + FILE_BYTES)
            self._go_ahead()
            if kept.listed == listed and time.monotonic() - kept.at < _KEPT_SECONDS:
                done.set_result(kept.content)
                return done
            self._record.unused_bytes += len(kept.content)
            return None
        if name not in self._arriving and self._is_promising:
            self._drop_old()
            plan = self._planner.plan(path, self._budget.left_to_keep)
            if plan is not None:
                self._begin(plan)
        if (arriving := self._arriving.get(name)) is None or arriving.listed != listed:
            return None
        self._asked.add(name)
        self._go_ahead()
        return arriving.answer

    def _go_ahead(self) -> None:
        """Ask for the next archive, so that the server makes one while another is taken."""
        ahead = len(self._kept) + len(self._arriving) - len(self._asked)
        is_wanted = self._fetcher.is_trusted and self._is_promising and ahead < _ENOUGH_AHEAD
        if is_wanted and (path := self._following) is not None:
            self._following = None
            if (plan := self._planner.plan(path, self._budget.left_to_keep)) is not None:
                self._begin(plan)

    @property
    def _is_promising(self) -> bool:
        return self._fetcher.is_possible and self._failures < _MOST_FAILURES

    async def ended(self) -> None:
        """End what is still under way, once all requests have ended."""
        self.close()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def _begin(self, plan: ArchivePlan) -> None:
        loop = asyncio.get_running_loop()
        self._budget.keep(plan.size)
        self._following = self._planner.following(plan)
        wanted = {}
        for name, (path, listed) in plan.files.items():
            one = Wanted(path, listed, loop.create_future(), loop.time())
            one.answer.add_done_callback(partial(self._arrived, one))
            wanted[name] = self._arriving[key(path)] = one
        task = asyncio.create_task(self._read(plan, wanted))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._end(task, wanted))

    async def _read(self, plan: ArchivePlan, wanted: Mapping[str, Wanted]) -> None:
        # Until one was as it should be, one at a time.
        turn = nullcontext() if self._fetcher.is_trusted else self._first
        async with self._slots, turn:
            if not self._is_open or not self._is_promising:
                return
            is_right = await self._fetcher.read_ahead(plan, wanted)
        self._failures = 0 if is_right else self._failures + 1

    def _end(self, task: asyncio.Task[None], wanted: Mapping[str, Wanted]) -> None:
        """Answer for what has not arrived. What has arrived gave back its memory by itself."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its files are read by themselves, which reports what is wrong
        for one in wanted.values():
            resolve(one, None)

    def _arrived(self, one: Wanted, answer: asyncio.Future[bytes | None]) -> None:
        """Keep the content of a file, unless the engine waits for it."""
        name = key(one.path)
        if self._arriving.get(name) is one:
            del self._arriving[name]
        content = None if answer.cancelled() else answer.result()
        is_asked = name in self._asked
        self._asked.discard(name)
        if content is not None and not is_asked and self._is_open and not self._budget.is_short:
            self._kept[name] = _Kept(content, one.listed, time.monotonic())
            return
        self._budget.release(one.listed.size + FILE_BYTES)
        if content is None and not is_asked and self._is_open:
            self._failed.put(name, value=True)
        if content is not None and not is_asked:
            self._record.unused_bytes += len(content)

    def _drop(self) -> bool:
        """Give up the file that was kept for the longest time; False if there is none."""
        if not self._kept:
            return False
        _, kept = self._kept.popitem(last=False)
        self._budget.release(len(kept.content) + FILE_BYTES)
        self._record.unused_bytes += len(kept.content)
        return True

    def _drop_old(self) -> None:
        """Give up what nobody has asked for in time."""
        until = time.monotonic() - _KEPT_SECONDS
        while self._kept and next(iter(self._kept.values())).at < until:
            self._drop()
