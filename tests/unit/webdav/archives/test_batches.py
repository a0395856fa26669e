"""When batches of reads leave, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from efss_transfer.webdav.archives import batches
from efss_transfer.webdav.archives.batches import ReadBatches, Wanted
from efss_transfer.webdav.archives.known_files import KnownFile

SMALL = KnownFile(1, "", b"")


class Server:
    """A server that answers when it is let; the batches that it got."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.most_files = 100
        self.most_at_once = 2

    async def fetch(self, files: Sequence[Wanted]) -> None:
        self.batches.append([one.path[-1] for one in files])
        await self.may_answer.wait()
        for one in files:
            if one.path[-1] == "fatal":
                raise ValueError
            if one.path[-1] != "bad" and not one.answer.done():
                one.answer.set_result(one.path[-1].encode())

    def choose(self, files: Sequence[Wanted]) -> list[Wanted]:
        return list(files[: self.most_files])


def run(work: Callable[[Server, ReadBatches], Awaitable[Any]]) -> Server:
    async def all_of_it() -> Server:
        server = Server()
        made = ReadBatches(server.fetch, server.choose, lambda: server.most_at_once)
        async with asyncio.timeout(20):
            await work(server, made)
            await made.ended()
        return server

    return asyncio.run(all_of_it())


async def read(made: ReadBatches, name: str) -> bytes | None:
    async with made.reading((name,), SMALL) as content:
        return content


async def read_all(made: ReadBatches, *names: str) -> list[bytes | None]:
    return list(await asyncio.gather(*(read(made, name) for name in names)))


def test_files_that_wait_together_are_fetched_together() -> None:
    async def work(_: Server, made: ReadBatches) -> None:
        assert await read_all(made, "a", "b", "bad") == [b"a", b"b", None]

    assert run(work).batches == [["a", "b", "bad"]]


def test_single_file_is_given_back_and_soon_without_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(_: Server, made: ReadBatches) -> None:
        assert await read_all(made, "a") == await read_all(made, "b") == [None]
        monkeypatch.setattr(batches, "_IDLE_SECONDS", 1000)
        assert await read_all(made, "c") == [None]

    assert run(work).batches == []


def test_files_beside_one_that_is_read_alone_are_fetched_together() -> None:
    async def work(_: Server, made: ReadBatches) -> None:
        await read_all(made, "a")
        await read_all(made, "b")
        async with made.reading(("c",), SMALL) as content:
            assert content is None
            assert await read_all(made, "d", "e") == [b"d", b"e"]

    assert run(work).batches == [["d", "e"]]


def test_batch_has_as_many_files_as_fit() -> None:
    async def work(server: Server, made: ReadBatches) -> None:
        server.most_files = 2
        assert await read_all(made, *"abcdef") == [b"a", b"b", b"c", b"d", b"e", b"f"]

    assert run(work).batches == [["a", "b"], ["c", "d"], ["e", "f"]]


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (2, 2)])
def test_second_batch_leaves_beside_the_first_if_it_is_worth_it(most: int, expected: int) -> None:
    async def work(server: Server, made: ReadBatches) -> None:
        server.most_at_once = most
        server.may_answer.clear()
        reads = [asyncio.create_task(read_all(made, "a", "b"))]
        while not server.batches:
            await asyncio.sleep(0.001)
        reads.append(asyncio.create_task(read_all(made, *map(str, range(20)))))
        reads.append(asyncio.create_task(read_all(made, *map(str, range(20, 40)))))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(server.batches) == expected
        server.may_answer.set()
        assert all(all(one) for one in await asyncio.gather(*reads))

    run(work)


def test_file_that_waits_too_long_beside_a_batch_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(server: Server, made: ReadBatches) -> None:
        server.may_answer.clear()
        first = asyncio.create_task(read_all(made, "a", "b"))
        while not server.batches:
            await asyncio.sleep(0.001)
        monkeypatch.setattr(batches, "_LONGEST_SECONDS", 0.05)
        assert await read_all(made, "c", "d") == [None, None]
        server.may_answer.set()
        assert await first == [b"a", b"b"]

    assert run(work).batches == [["a", "b"]]


def test_read_that_is_broken_off_leaves_its_batch() -> None:
    async def work(server: Server, made: ReadBatches) -> None:
        server.may_answer.clear()
        reads = [asyncio.create_task(read(made, name)) for name in "ab"]
        while not server.batches:
            await asyncio.sleep(0.001)
        for one in reads:
            one.cancel()
        await asyncio.wait(reads)
        # The batch has ended as well: the next one need not wait for it.
        server.most_at_once = 1
        more = asyncio.create_task(read_all(made, "c", "d"))
        while len(server.batches) < 2:
            await asyncio.sleep(0.001)
        server.may_answer.set()
        assert await more == [b"c", b"d"]

    run(work)


def test_batch_that_fails_gives_its_files_back() -> None:
    async def work(_: Server, made: ReadBatches) -> None:
        assert await read_all(made, "a", "fatal", "c") == [b"a", None, None]

    run(work)


def test_end_gives_back_what_is_under_way() -> None:
    async def work(server: Server, made: ReadBatches) -> None:
        server.may_answer.clear()
        reads = asyncio.create_task(read_all(made, "a", "b"))
        while not server.batches:
            await asyncio.sleep(0.001)
        await made.ended()
        assert await reads == [None, None]

    run(work)
