"""When batches leave, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from efss_transfer.webdav.bulk import batches
from efss_transfer.webdav.bulk.batches import Batches
from efss_transfer.webdav.bulk.parts import BulkFile
from efss_transfer.webdav.http.exchange import Held


def file(name: str, size: int = 1) -> BulkFile:
    return BulkFile((name,), f"/{name}", Held(bytes(size)), None)


class Server:
    """A server that answers when it is let; the batches that it got."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.most_bytes = 1000

    async def send(self, files: list[BulkFile]) -> dict[str, str]:
        self.batches.append([one.name for one in files])
        await self.may_answer.wait()
        return {one.name: "e" for one in files if not one.name.startswith("/bad")}


def run(work: Callable[[Server, Batches], Awaitable[Any]]) -> Server:
    async def all_of_it() -> Server:
        server = Server()
        made = Batches(server.send, lambda: server.most_bytes)
        async with asyncio.timeout(20):
            await work(server, made)
            await made.ended()
        return server

    return asyncio.run(all_of_it())


def names(count: int) -> list[str]:
    return [f"{number}" for number in range(count)]


async def store(made: Batches, *names: str, size: int = 1) -> list[str | None]:
    return list(await asyncio.gather(*(made.store(file(name, size)) for name in names)))


def test_files_that_wait_together_leave_together() -> None:
    async def work(_: Server, made: Batches) -> None:
        assert await store(made, "a", "b", "bad") == ["e", "e", None]

    assert run(work).batches == [["/a", "/b", "/bad"]]


def test_single_file_is_given_back() -> None:
    async def work(_: Server, made: Batches) -> None:
        assert await store(made, "a") == [None]

    assert run(work).batches == []


def test_single_file_waits_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 0)
    monkeypatch.setattr(batches, "_SINGLE_SECONDS", 1000)

    async def work(server: Server, made: Batches) -> None:
        first = asyncio.create_task(made.store(file("a")))
        for _ in range(100):
            await asyncio.sleep(0)
        assert server.batches == []
        assert await made.store(file("b")) == await first == "e"

    assert run(work).batches == [["/a", "/b"]]


def test_full_batch_leaves_at_once_and_a_second_one_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 1000)

    async def work(server: Server, made: Batches) -> None:
        server.may_answer.clear()
        tasks = [asyncio.create_task(made.store(file(name))) for name in names(60)]
        while len(server.batches) < 2:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert [len(batch) for batch in server.batches] == [25, 25]
        server.may_answer.set()
        while len(server.batches) < 3:
            # As many as ever waited do not wait now, so only a moment's silence lets them go.
            made._hurry(-1000)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    assert sum(len(batch) for batch in run(work).batches) == 60


def test_batch_holds_only_so_many_bytes() -> None:
    async def work(_: Server, made: Batches) -> None:
        assert await store(made, *names(9), size=300) == ["e"] * 9

    assert [len(batch) for batch in run(work).batches] == [3, 3, 3]


def test_as_many_as_ever_waited_do_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(_: Server, made: Batches) -> None:
        await store(made, *names(7))
        monkeypatch.setattr(batches, "_IDLE_SECONDS", 1000)
        await store(made, *names(7))

    assert [len(batch) for batch in run(work).batches] == [7, 7]


def test_files_of_a_folder_that_is_being_made_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 0)
    monkeypatch.setattr(batches, "_FOLDER_SECONDS", 1000)

    async def work(server: Server, made: Batches) -> None:
        with made.making_folder():
            waiting = asyncio.gather(*(made.store(file(name)) for name in "ab"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert server.batches == []
        assert await waiting == ["e", "e"]

    assert run(work).batches == [["/a", "/b"]]


def test_folder_that_is_made_slowly_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_FOLDER_SECONDS", 0.05)

    async def work(_: Server, made: Batches) -> None:
        with made.making_folder():
            assert await store(made, "a", "b") == ["e", "e"]

    assert run(work).batches == [["/a", "/b"]]


def test_slow_server_gets_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_SECONDS", 0.0)

    async def work(_: Server, made: Batches) -> None:
        await store(made, *names(10))
        await store(made, *names(10))

    sizes = [len(batch) for batch in run(work).batches]
    assert sizes == [10, 2, 2, 2, 2, 2]


def test_upload_that_is_broken_off_leaves_its_batch() -> None:
    async def work(server: Server, made: Batches) -> None:
        tasks = [asyncio.create_task(made.store(file(name))) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert tasks[1].cancelled()
        assert tasks[0].result() == tasks[2].result() == "e"

    assert run(work).batches == [["/a", "/c"]]


def test_batch_that_nobody_waits_for_is_ended() -> None:
    async def work(server: Server, made: Batches) -> None:
        server.may_answer.clear()  # and it never answers
        tasks = [asyncio.create_task(made.store(file(name))) for name in "abc"]
        while not server.batches:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await made.ended()
        # Another one is not held up by it.
        server.may_answer.set()
        assert await store(made, "d", "e") == ["e", "e"]

    assert run(work).batches == [["/a", "/b", "/c"], ["/d", "/e"]]


def test_defect_in_sending_gives_the_files_back() -> None:
    async def work(server: Server, made: Batches) -> None:
        async def fail(_: list[BulkFile]) -> dict[str, str]:
            raise RuntimeError

        made._send = fail
        assert await store(made, "a", "b") == [None, None]

    run(work)


def test_many_files_that_wait_leave_in_two_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with 64 transfers keeps two requests under way, however the first ones left."""
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 0)

    async def work(server: Server, made: Batches) -> None:
        waiting = {asyncio.create_task(made.store(file(name))) for name in names(64)}
        for number in range(64, 400):
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            waiting.remove(done.pop())
            waiting.add(asyncio.create_task(made.store(file(f"{number}"))))
        await asyncio.gather(*waiting)

    sizes = [len(batch) for batch in run(work).batches]
    assert sum(sizes) == 400
    assert max(sizes[2:]) <= 32


def test_second_batch_that_is_no_half_leaves_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 0)

    async def work(server: Server, made: Batches) -> None:
        server.may_answer.clear()
        first = asyncio.create_task(store(made, *names(10)))
        while not server.batches:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(store(made, *(f"b{name}" for name in names(8))))
        while len(server.batches) < 2:
            await asyncio.sleep(0.001)
        third = asyncio.create_task(store(made, *(f"c{name}" for name in names(8))))
        await asyncio.sleep(0.05)
        assert len(server.batches) == 2
        server.may_answer.set()
        await asyncio.gather(first, second, third)

    run(work)


def test_few_files_wait_for_the_batch_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 0)

    async def work(server: Server, made: Batches) -> None:
        server.may_answer.clear()
        first = asyncio.create_task(store(made, *names(10)))
        while not server.batches:
            await asyncio.sleep(0.001)
        few = asyncio.create_task(store(made, *(f"b{name}" for name in names(7))))
        await asyncio.sleep(0.05)
        assert len(server.batches) == 1
        server.may_answer.set()
        await asyncio.gather(first, few)

    run(work)
