from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from efss_transfer.webdav.folders import Folders, Orphan
from efss_transfer.webdav.paths import Segments, segments


class Server:
    """Folders that take a moment to make."""

    def __init__(self, *there: str) -> None:
        self.there = {(), *map(segments, there)}
        self.asked: list[str] = []
        self.failing: Exception | None = None

    async def make(self, folder: Segments) -> int:
        self.asked.append("/".join(folder))
        await asyncio.sleep(0)
        if self.failing is not None:
            raise self.failing
        if folder in self.there:
            return 405
        if folder[:-1] not in self.there:
            return 409
        self.there.add(folder)
        return 201


def ensured(server: Server, folders: Folders, *paths: str) -> list[BaseException | None]:
    async def run() -> list[BaseException | None]:
        return await asyncio.gather(
            *(folders.ensure(segments(path)) for path in paths), return_exceptions=True
        )

    return asyncio.run(run())


def test_folder_is_made_once_however_many_need_it() -> None:
    server = Server()
    folders = Folders(server.make)
    ensured(server, folders, *["a/b"] * 16)
    assert ("a", "b") in server.there
    assert server.asked == ["a/b", "a", "a/b"]
    ensured(server, folders, "a/b", "a")
    assert len(server.asked) == 3


def test_sibling_folders_are_made_without_a_refusal_once_their_parent_is_known() -> None:
    server = Server()
    folders = Folders(server.make)
    folders.is_missing(segments("a"))
    ensured(server, folders, *[f"a/b{number}/c" for number in range(16)])
    assert set(Counter(server.asked).values()) == {1}
    assert len(server.asked) == 1 + 16 + 16


def test_folder_that_is_there_costs_one_request() -> None:
    server = Server("a", "a/b", "a/b/c")
    folders = Folders(server.make)
    ensured(server, folders, "a/b/c", "a/b/d", "a/b")
    assert server.asked == ["a/b/c", "a/b/d", "a/b"] or server.asked == ["a/b/c", "a/b/d"]
    assert not folders.is_empty(segments("a/b/c"))


def test_new_folder_is_known_to_be_empty_until_something_is_put_into_it() -> None:
    server = Server()
    folders = Folders(server.make)
    ensured(server, folders, "a")
    assert folders.is_empty(segments("a"))
    ensured(server, folders, "a/b")
    assert not folders.is_empty(segments("a"))
    assert folders.is_empty(segments("a/b"))
    folders.fills(segments("a/b"))
    assert not folders.is_empty(segments("a/b"))


def test_error_reaches_all_that_wait_and_is_not_remembered() -> None:
    server = Server()
    folders = Folders(server.make)
    server.failing = RuntimeError("no")
    assert {type(error) for error in ensured(server, folders, "a", "a", "a/b")} == {RuntimeError}
    server.failing = None
    assert ensured(server, folders, "a/b") == [None]


def test_server_that_makes_no_folder_is_not_asked_for_ever() -> None:
    async def never(folder: Segments) -> int:
        asked.append(folder)
        return 409

    asked: list[Segments] = []
    (error,) = ensured(Server(), Folders(never), "a/b/c")
    assert isinstance(error, Orphan)
    assert len(asked) < 10


@pytest.mark.parametrize("forget", [True, False])
def test_what_is_forgotten_is_asked_again(forget: bool) -> None:
    server = Server()
    folders = Folders(server.make)
    ensured(server, folders, "a")
    if forget:
        folders.forget()
    ensured(server, folders, "a")
    assert len(server.asked) == (2 if forget else 1)


def test_folder_whose_maker_is_cancelled_is_made_by_another_that_waits() -> None:
    async def run() -> None:
        server = Server()
        folders = Folders(server.make)
        first, *others = [asyncio.create_task(folders.ensure(segments("a"))) for _ in range(4)]
        await asyncio.sleep(0)  # the first has asked, and the others wait for it
        first.cancel()
        await asyncio.gather(*others)
        assert ("a",) in server.there
        assert server.asked == ["a", "a"]

    asyncio.run(run())
