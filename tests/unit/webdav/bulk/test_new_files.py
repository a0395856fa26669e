"""A file goes by a bulk request only if a listing lacks it that is at most a minute old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from efss_transfer.webdav import memory as memories
from efss_transfer.webdav.bulk.new_files import NewFiles
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Listings, Named
from efss_transfer.webdav.memory import Memory
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.writes.twins import Twins


class Server:
    """A folder with files of these names; it counts how often it is listed."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.is_gone = False
        self.listed = 0

    async def read(self, path: Segments, depth: str, *, folder: bool) -> AsyncIterator[list[Named]]:
        assert (path, depth, folder) == (("to",), "1", True)
        self.listed += 1
        await asyncio.sleep(0)
        if self.is_gone:
            raise NoAnswer("refused", "nobody answers")
        yield [Named(None, Entry("", None, (), collection=True))]
        yield [Named(name, Entry("", None, (), collection=False)) for name in self.names]


def new_files(server: Server, memory: Memory) -> NewFiles:
    listings = cast(Listings, server)
    twins = Twins(cast(ServerSession, None), listings, 1 << 20)
    return NewFiles(listings, memory, twins)


def ask(made: NewFiles, *names: str) -> list[bool]:
    async def work() -> list[bool]:
        return list(await asyncio.gather(*(made.has(("to", name)) for name in names)))

    return asyncio.run(work())


def test_fresh_listing_is_believed() -> None:
    server, memory = Server("old"), Memory()
    memory.etags.put("to/old", None)
    memory.has_listed(("to",))
    assert ask(new_files(server, memory), "new", "old") == [True, False]
    assert server.listed == 0


def test_older_listing_is_renewed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    server, memory = Server("come"), Memory()
    memory.listed.put("to", -1e9)
    assert ask(new_files(server, memory), "new", "come", "newer") == [True, False, True]
    assert server.listed == 1
    monkeypatch.setattr(memories, "_JUST_SECONDS", -1.0)
    # One that is too old at once is no reason to go on.
    assert ask(new_files(server, memory), "new") == [False]


def test_folder_that_was_never_listed_has_no_new_files() -> None:
    server = Server()
    assert ask(new_files(server, Memory()), "new") == [False]
    assert server.listed == 0


def test_folder_that_cannot_be_listed_has_no_new_files() -> None:
    server, memory = Server(), Memory()
    server.is_gone = True
    memory.listed.put("to", -1e9)
    assert ask(new_files(server, memory), "new", "newer") == [False, False]
    assert not memory.is_absent(("to", "new"))
