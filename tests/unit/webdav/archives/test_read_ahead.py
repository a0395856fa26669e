"""What is read ahead is handed out once, while it is what the listing says, and gives up memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from efss_transfer.webdav.archives import read_ahead
from efss_transfer.webdav.archives.batches import Wanted
from efss_transfer.webdav.archives.fetcher import Fetcher
from efss_transfer.webdav.archives.known_files import KnownFile
from efss_transfer.webdav.archives.plans import FILE_BYTES, ArchivePlan, Planner
from efss_transfer.webdav.archives.read_ahead import ReadAhead
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.words import Record

MIB = 1 << 20
LISTED = KnownFile(3, "", b"", etag=b"etag")
NAMES = ("a", "b", "c")


class Server:
    """Plans of all files but one, and the archives that bring them."""

    def __init__(self) -> None:
        self.plans = 0
        self.lacks: set[str] = set()
        self.held = asyncio.Event()
        self.held.set()
        self.is_possible = self.is_trusted = True
        self.root: Segments = ()
        self.next: Segments | None = None
        self.record = Record()

    def forget(self) -> None:
        """Forget nothing."""

    def plan(self, path: Segments, room: int) -> ArchivePlan | None:
        size = len(NAMES) * (3 + FILE_BYTES)
        if path[-1] == "other" or room < size:
            return None
        self.plans += 1
        files = {name: ((*path[:-1], name), LISTED) for name in NAMES}
        return ArchivePlan(path[:-1], "", files, frozenset(), size, (*path[:-1], NAMES[-1]))

    def following(self, plan: ArchivePlan) -> Segments | None:
        found, self.next = self.next, None
        return found

    async def read_ahead(self, _: ArchivePlan, wanted: Mapping[str, Wanted]) -> bool:
        await self.held.wait()
        for name, one in wanted.items():
            if name not in self.lacks:
                one.answer.set_result(name.encode() * 3)
        return not self.lacks


def run(act: Callable[[ReadAhead, Server, Budget], Awaitable[None]], size: int = 64 * MIB) -> None:
    async def acted() -> None:
        server, budget = Server(), Budget(size)
        ahead = ReadAhead(cast(Fetcher, server), cast(Planner, server), budget, server.record)
        ahead.open(())
        await act(ahead, server, budget)
        await ahead.ended()
        await asyncio.sleep(0)
        assert budget.kept == 0

    asyncio.run(acted())


async def read(ahead: ReadAhead, *path: str, listed: KnownFile = LISTED) -> Any:
    found = ahead.find(path, listed)
    content = "not ahead" if found is None else await found
    await asyncio.sleep(0)
    return content


def test_files_are_handed_out_once() -> None:
    async def act(ahead: ReadAhead, server: Server, budget: Budget) -> None:
        assert [await read(ahead, "f", name) for name in NAMES] == [b"aaa", b"bbb", b"ccc"]
        assert (server.plans, budget.kept) == (1, 0)
        await read(ahead, "f", "a")
        assert server.plans == 2
        assert await read(ahead, "f", "other") == "not ahead"

    run(act)


def test_file_that_is_listed_anew_is_not_handed_out() -> None:
    async def act(ahead: ReadAhead, server: Server, _: Budget) -> None:
        await read(ahead, "f", "a")
        other = KnownFile(3, "", b"", etag=b"another etag")
        assert await read(ahead, "f", "b", listed=other) == "not ahead"
        server.held.clear()
        ahead.find(("g", "a"), LISTED)
        assert ahead.find(("g", "b"), other) is None
        server.held.set()
        assert server.record.unused_bytes == 3

    run(act)


def test_old_bytes_are_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(read_ahead, "time", clock)

    async def act(ahead: ReadAhead, _: Server, budget: Budget) -> None:
        await read(ahead, "f", "a")
        clock.monotonic = lambda: 59.0
        assert await read(ahead, "f", "b") == b"bbb"
        clock.monotonic = lambda: 61.0
        assert await read(ahead, "f", "c") == "not ahead"
        assert budget.kept == 0

    run(act)


def test_file_that_the_archive_lacks_is_read_by_itself() -> None:
    async def act(ahead: ReadAhead, server: Server, _: Budget) -> None:
        server.lacks = {"b", "c"}
        assert await read(ahead, "f", "a") == b"aaa"
        assert await read(ahead, "f", "b") is None
        assert await read(ahead, "f", "c") is None
        assert server.plans == 1
        assert await read(ahead, "g", "b") is None
        # Two in a row are enough.
        assert await read(ahead, "h", "a") == "not ahead"
        assert await read(ahead, "g", "a") == b"aaa"

    run(act)


def test_nothing_is_read_ahead_before_open_and_after_close() -> None:
    async def act(ahead: ReadAhead, server: Server, budget: Budget) -> None:
        await read(ahead, "f", "a")
        server.held.clear()
        waiting = ahead.find(("g", "a"), LISTED)
        await asyncio.sleep(0)
        ahead.close()
        server.held.set()
        assert waiting is not None
        assert await waiting == b"aaa"
        await asyncio.sleep(0)
        assert budget.kept == 0
        assert await read(ahead, "f", "b") == "not ahead"
        assert await read(ahead, "h", "b") == "not ahead"

    run(act)


def test_kept_bytes_give_way_to_others() -> None:
    async def act(ahead: ReadAhead, server: Server, budget: Budget) -> None:
        await read(ahead, "f", "a")
        assert budget.kept == 2 * (3 + FILE_BYTES)
        async with budget.holding(MIB // 4):
            assert budget.kept == 0
            # There is no room for a plan.
            assert await read(ahead, "g", "a") == "not ahead"
        assert await read(ahead, "f", "b") == b"bbb"
        assert server.plans == 2

    run(act, MIB)


def test_what_arrives_while_others_wait_for_memory_is_not_kept() -> None:
    async def act(ahead: ReadAhead, server: Server, budget: Budget) -> None:
        server.held.clear()
        waiting = ahead.find(("f", "a"), LISTED)

        async def hold() -> None:
            async with budget.holding(MIB // 4):
                assert budget.kept == 0

        holding = asyncio.create_task(hold())
        await asyncio.sleep(0)
        assert budget.is_short
        server.held.set()
        assert waiting is not None
        assert await waiting == b"aaa"
        await holding
        assert server.record.unused_bytes == 6

    run(act, MIB)


def test_end_does_not_wait_for_the_server() -> None:
    async def act(ahead: ReadAhead, server: Server, _: Budget) -> None:
        server.held.clear()
        waiting = ahead.find(("f", "a"), LISTED)
        await asyncio.sleep(0)
        await ahead.ended()
        assert waiting is not None
        assert await waiting is None

    run(act)


def test_next_archive_is_asked_for_while_this_one_is_taken() -> None:
    async def act(ahead: ReadAhead, server: Server, _: Budget) -> None:
        server.next = ("after", NAMES[0])
        assert await read(ahead, "f", NAMES[0]) == NAMES[0].encode() * 3
        assert server.plans == 2
        for name in NAMES:
            assert await read(ahead, "after", name) == name.encode() * 3
        assert server.plans == 2

    run(act)


def test_next_archive_waits_until_one_was_right() -> None:
    async def act(ahead: ReadAhead, server: Server, _: Budget) -> None:
        server.is_trusted, server.next = False, ("after", NAMES[0])
        await read(ahead, "f", NAMES[0])
        assert server.plans == 1

    run(act)
