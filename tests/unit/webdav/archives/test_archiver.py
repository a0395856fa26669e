"""What the archiver is asked for, and when it is not asked any more."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from efss_transfer.webdav.archives import archiver
from efss_transfer.webdav.archives.archiver import Archiver
from efss_transfer.webdav.archives.batches import Wanted
from efss_transfer.webdav.archives.identified_files import IdentifiedFile
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.http.connections import Origin
from efss_transfer.webdav.http.exchange import Answer, Call, Sending
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.words import Record

SPACE = "1284d238-aa92-42ce-bdc4-0b0000009157$4c510ada-c86b-4815-8820-42cdf82c3d51!"


class Session:
    """A session with a server whose archiver never answers; the requests that it got."""

    upstream = SimpleNamespace(origin=Origin.of("https://cloud.example"))

    def __init__(self, home: str = "/dav/files/alice", **members: Any) -> None:
        self.home = home
        self.record = Record()
        self.targets: list[str] = []
        self._told = {
            "enabled": True,
            "version": "2.0.0",
            "formats": ["zip"],
            "archiver_url": "/archiver",
            "max_num_files": "10000",
            "max_size": "1073741824",
            **members,
        }

    def call(self, call: Call, _: str) -> Sending:
        self.targets.append(call.target)
        return Sending(self._told_of() if "/ocs/" in call.target else self._never())

    async def _told_of(self) -> Answer:
        said = {"ocs": {"data": {"capabilities": {"files": {"archivers": [self._told]}}}}}

        async def text(_: int) -> bytes:
            return json.dumps(said).encode()

        async def settle() -> None:
            pass

        return cast(Answer, SimpleNamespace(status=200, text=text, settle=settle))

    async def _never(self) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError


def made(**members: Any) -> tuple[Archiver, Session]:
    session = Session(**members)
    return Archiver(cast(ServerSession, session), Budget()), session


def wanted(count: int, size: int = 1) -> list[Wanted]:
    futures: Any = SimpleNamespace(done=lambda: False)
    return [
        Wanted(
            ("a", f"{n}"),
            IdentifiedFile(size, "sha1", b"", SPACE + str(uuid.UUID(int=n))),
            futures,
            0,
        )
        for n in range(count)
    ]


def ids(target: str) -> list[str]:
    return parse_qs(urlsplit(target).query)["id"]


def test_url_and_bytes_are_bounded() -> None:
    chooser, _ = made()
    assert 45 <= len(chooser.choose(wanted(200))) <= 55
    assert len(chooser.choose(wanted(200, size=1 << 17))) == 16
    assert len(chooser.choose(wanted(1, size=1 << 30))) == 1


def test_request_names_the_ids_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "_SECONDS", 0)
    asking, session = made(max_num_files="3", max_size="100")
    files = wanted(10)
    asyncio.run(asking.fetch(files))
    assert session.targets[0].startswith("/ocs/")
    asked = [cast(IdentifiedFile, one.listed).file_id for one in files[:3]]
    assert ids(session.targets[1]) == asked
    target = urlsplit(session.targets[1])
    assert (target.path, parse_qs(target.query)["output-format"]) == ("/archiver", ["zip"])
    assert len(asking.choose(wanted(10))) == 3
    assert len(asking.choose(wanted(10, size=45))) == 2


def test_archiver_of_one_file_is_not_used() -> None:
    asking, session = made(max_num_files="1")
    asyncio.run(asking.fetch(wanted(2)))
    assert not asking.is_possible
    assert len(session.targets) == 1


def test_address_of_no_known_form_has_no_archiver() -> None:
    asking, session = made(home="/some/where")
    asyncio.run(asking.fetch(wanted(2)))
    assert not asking.is_possible
    assert not session.targets


def test_server_that_does_not_answer_in_time_twice_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archiver, "_SECONDS", 0.01)
    asking, session = made()
    for _ in range(3):
        asyncio.run(asking.fetch(wanted(2)))
    assert len(session.targets) == 3
    assert not asking.is_possible
    assert not session.record.failures
