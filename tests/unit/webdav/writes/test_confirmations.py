"""Confirmations of uploads, by the listings of a server that is made of a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Listings, Named
from efss_transfer.webdav.memory import Stored
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.words import Record
from efss_transfer.webdav.writes import confirmations
from efss_transfer.webdav.writes.confirmations import Confirmations

Sizes = dict[Segments, int]


def entry(status: int | None = None, etag: str = "") -> Entry:
    properties = {"DAV: getetag": etag} if etag else {}
    return Entry("", status, (), collection=False, properties=properties)


@dataclass
class Server:
    """Sizes by path; a path with a status is listed with that in place of its properties."""

    sizes: Sizes = field(default_factory=dict)
    statuses: dict[Segments, int] = field(default_factory=dict)
    etags: dict[Segments, str] = field(default_factory=dict)
    asked: list[tuple[Segments, str]] = field(default_factory=list)
    is_gone: bool = False

    def _named(self, path: Segments, name: str | None) -> Named:
        known = entry(self.statuses.get(path), self.etags.get(path, ""))
        return Named(name, known, self.sizes[path])

    async def one(self, path: Segments, *, folder: bool) -> Named | None:
        assert not folder
        self.asked.append((path, "0"))
        return self._named(path, None) if path in self.sizes else None

    async def read(self, path: Segments, depth: str, *, folder: bool) -> AsyncIterator[Any]:
        assert folder
        self.asked.append((path, depth))
        if self.is_gone:
            raise NoAnswer("refused", "nobody answers")
        yield [Named(None, entry())]
        yield [self._named(one, one[-1]) for one in self.sizes if one[:-1] == path]


def confirmed(
    server: Server, uploads: Sizes, *forgotten: Segments, in_bulk: bool = False
) -> Record:
    record = Record()
    made = Confirmations(cast(Listings, server), record)

    async def work() -> None:
        for path, size in uploads.items():
            await made.expect(path, Stored(size, None, None, '"1"', in_bulk=in_bulk))
        for path in forgotten:
            made.forget(path)
        await made.confirm()
        await made.confirm()  # nothing is left

    asyncio.run(work())
    return record


def test_folder_is_listed_once_and_a_few_files_are_asked_for() -> None:
    many: Sizes = {("a", str(n)): n for n in range(4)}
    few: Sizes = {("b", "x"): 1, ("c",): 2}
    server = Server({**many, **few})
    assert confirmed(server, {**many, **few}) == Record()
    assert server.asked == [(("a",), "1"), (("b", "x"), "0"), (("c",), "0")]


@pytest.mark.parametrize("more", [0, 5])
def test_what_a_listing_contradicts_is_recorded(more: int) -> None:
    others: Sizes = {("a", str(n)): n for n in range(more)}
    server = Server(
        {**others, ("a", "short"): 1, ("a", "busy"): 0, ("a", "bad"): 0},
        {("a", "busy"): 425, ("a", "bad"): 403},
    )
    uploads: Sizes = {("a", name): 2 for name in ("short", "busy", "bad", "lost")}
    record = confirmed(server, {**others, **uploads})
    assert record.contradicted.keys() == {"a/short", "a/bad", "a/lost"}
    assert "1 of 2 bytes" in record.contradicted["a/short"]
    assert "403" in record.contradicted["a/bad"]
    assert "does not list" in record.contradicted["a/lost"]


def test_name_may_be_listed_in_its_composed_form() -> None:
    server = Server({("a", f"\u00e9{n}"): n for n in range(5)})
    assert confirmed(server, {("a", f"e\u0301{n}"): n for n in range(5)}) == Record()


@pytest.mark.parametrize("more", [0, 5])
def test_upload_in_bulk_has_the_etag_that_was_answered(more: int) -> None:
    uploads: Sizes = {("a", str(n)): n for n in range(2 + more)}
    server = Server(uploads, etags={**dict.fromkeys(uploads, '"1"'), ("a", "1"): '"2"'})
    assert not confirmed(server, uploads).contradicted
    record = confirmed(server, uploads, in_bulk=True)
    assert record.contradicted.keys() == {"a/1"}
    assert "another version" in record.contradicted["a/1"]


def test_upload_that_is_made_again_is_not_expected() -> None:
    server = Server()
    assert confirmed(server, {("a", "x"): 1}, ("a", "x"), ("a", "unknown")) == Record()
    assert not server.asked


def test_folder_that_cannot_be_listed_is_recorded() -> None:
    record = confirmed(Server(is_gone=True), dict.fromkeys([("a", n) for n in "wxyz"], 1))
    assert not record.contradicted
    assert record.unlisted == {"a": "nobody answers"}


def test_fullest_folder_is_confirmed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmations, "_MOST", 6)
    uploads: Sizes = {("a", "x"): 1, **{("b", str(n)): n for n in range(5)}, ("c", "y"): 1}
    server = Server(dict(uploads))
    assert confirmed(server, uploads) == Record()
    assert server.asked == [(("b",), "1"), (("a", "x"), "0"), (("c", "y"), "0")]
