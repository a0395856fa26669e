from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.writes.quota import SMALLEST, Quota

MIB = 1 << 20


class Server:
    """Folders with what is free in each."""

    def __init__(self, **free: int | None) -> None:
        self.free = free
        self.asked: list[str] = []
        self.quota = Quota(self.ask)

    async def ask(self, folder: Segments) -> int | None:
        self.asked.append("/".join(folder))
        await asyncio.sleep(0)
        return self.free["/".join(folder)]

    async def lacks(self, folder: str, *sizes: int) -> list[int | None]:
        return await asyncio.gather(*(self.quota.lacks((folder,), size) for size in sizes))


def run(work: Coroutine[Any, Any, list[int | None]]) -> list[int | None]:
    return asyncio.run(work)


def test_file_that_does_not_fit_is_told_what_is_free() -> None:
    server = Server(a=5 * MIB)
    assert run(server.lacks("a", 8 * MIB)) == [5 * MIB]


def test_small_files_cost_no_question() -> None:
    server = Server(a=0)
    assert run(server.lacks("a", *[SMALLEST - 1] * 100)) == [None] * 100
    assert not server.asked


def test_many_files_cost_one_question() -> None:
    server = Server(a=1000 * MIB, b=0)
    assert run(server.lacks("a", *[2 * MIB] * 100)) == [None] * 100
    assert run(server.lacks("b", 2 * MIB)) == [None]
    assert server.asked == ["a"]


def test_what_was_sent_counts_until_the_server_says_otherwise() -> None:
    server = Server(a=5 * MIB)
    assert run(server.lacks("a", 2 * MIB, 2 * MIB, 2 * MIB)) == [None] * 3
    assert server.asked == ["a", "a"]
    server.free["a"] = MIB
    assert run(server.lacks("a", 4 * MIB)) == [MIB]


def test_file_is_refused_only_by_its_own_folder() -> None:
    server = Server(share=MIB, large=100 * MIB)
    assert run(server.lacks("share", 2 * MIB)) == [MIB]
    assert run(server.lacks("large", 2 * MIB)) == [None]


def test_unknown_space_lets_everything_pass_and_is_rarely_asked_for() -> None:
    server = Server(a=None)
    assert run(server.lacks("a", *[1 << 50] * 100)) == [None] * 100
    assert server.asked == ["a"]


def test_answer_is_old_after_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(a=100 * MIB)
    assert run(server.lacks("a", 2 * MIB)) == [None]
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    server.free["a"] = 0
    assert run(server.lacks("a", 2 * MIB)) == [0]
