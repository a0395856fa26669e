"""Listings of the probe: used once, while they are new, within a bounded size."""

from __future__ import annotations

import asyncio

import pytest

from efss_transfer.webdav.early_listings import EarlyListings


def test_listing_is_used_once() -> None:
    early = EarlyListings()
    early.keep("/a/", b"listing")
    assert early.take("/a/") == b"listing"
    assert early.take("/a/") is None


def test_listing_older_than_a_minute_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    early = EarlyListings()
    early.keep("/a/", b"listing")
    now += 60
    assert early.take("/a/") is None


def test_oldest_listings_make_room() -> None:
    early = EarlyListings()
    for number in range(9):
        early.keep(f"/{number}/", bytes(1 << 20))
    kept = [number for number in range(9) if early.take(f"/{number}/")]
    assert kept == [5, 6, 7, 8]


def test_listing_that_alone_is_too_large_is_not_kept_and_drops_no_other() -> None:
    early = EarlyListings()
    early.keep("/small/", b"listing")
    early.keep("/large/", bytes((4 << 20) + 1))
    assert early.take("/large/") is None
    assert early.take("/small/") == b"listing"


def test_nothing_is_kept_once_the_copy_has_begun() -> None:
    early = EarlyListings()
    early.is_open = False
    early.keep("/a/", b"listing")
    assert early.take("/a/") is None


def test_listing_that_is_arriving_when_the_copy_begins_is_kept_and_waited_for() -> None:
    async def run() -> bytes | None:
        early = EarlyListings()
        begun = asyncio.Event()

        async def arrive() -> None:
            with early.arriving("/a/"):
                begun.set()
                await asyncio.sleep(0.05)
                early.keep("/a/", b"listing")

        arriving = asyncio.create_task(arrive())
        await begun.wait()
        early.is_open = False
        await early.arrived("/a/")
        assert arriving.done()
        return early.take("/a/")

    assert asyncio.run(run()) == b"listing"


def test_listing_that_was_arriving_before_a_verification_is_not_kept() -> None:
    async def run() -> bytes | None:
        early = EarlyListings()
        with early.arriving("/a/"):
            early.is_open = False
            early.clear()
            early.keep("/a/", b"listing")
        return early.take("/a/")

    assert asyncio.run(run()) is None
