"""What one archive is asked for, and when none is asked for any more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest

from efss_transfer.webdav.archives import fetcher
from efss_transfer.webdav.archives.batches import Wanted
from efss_transfer.webdav.archives.fetcher import Fetcher
from efss_transfer.webdav.archives.known_files import KnownFile
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.http.exchange import Answer, Call, Sending
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.paths import Segments, encoded
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.words import Record


class Session:
    """A session with a server that never answers; the requests that it got."""

    def __init__(self) -> None:
        self.record = Record()
        self.targets: list[str] = []

    def call(self, call: Call, _: str) -> Sending:
        self.targets.append(call.target)
        return Sending(self._never())

    async def _never(self) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError


def target(path: Segments, *, folder: bool = False) -> str:
    return f"/home{encoded(path)}" + "/" * folder


def made() -> tuple[Fetcher, Session]:
    session, listings = Session(), cast(Listings, SimpleNamespace(target=target))
    return Fetcher(cast(ServerSession, session), listings, Budget()), session


def wanted(*paths: str, size: int = 1) -> list[Wanted]:
    futures: Any = SimpleNamespace(done=lambda: False)
    return [Wanted(tuple(path.split("/")), KnownFile(size, "", b""), futures, 0) for path in paths]


def test_url_and_bytes_and_files_are_bounded() -> None:
    chooser, _ = made()
    assert len(chooser.choose(wanted(*map(str, range(200))))) == 100
    assert len(chooser.choose(wanted(*map(str, range(200)), size=1 << 17))) == 16
    longest = chooser.choose(wanted(*(f"{number}{'ä' * 100}" for number in range(200))))
    assert 8 <= len(longest) <= 10
    assert len(chooser.choose(wanted("a" * 10_000, "b"))) == 1


def test_folder_and_names_are_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "_SECONDS", 0)
    asking, session = made()
    asyncio.run(asking.fetch(wanted("a/b/1", "a/b/2&\"'")))
    asyncio.run(asking.fetch(wanted("a/b/1", "a/c/2")))
    assert [unquote(one) for one in session.targets] == [
        '/home/a/b/?accept=zip&files=["1","2&\\"\'"]',
        '/home/a/?accept=zip&files=["b/1","c/2"]',
    ]
    assert "&files=%5B%221%22,%222%26%5C%22'%22%5D" in session.targets[0]


def test_server_that_does_not_answer_in_time_twice_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetcher, "_SECONDS", 0.01)
    asking, session = made()
    for _ in range(3):
        asyncio.run(asking.fetch(wanted("a", "b")))
    assert len(session.targets) == 2
    assert not asking.is_possible
    assert not session.record.failures
