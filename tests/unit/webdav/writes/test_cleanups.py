"""Clean-ups outlive the request that began them, and end with the transfer."""

from __future__ import annotations

import asyncio

import pytest

from efss_transfer.webdav.writes import cleanups
from efss_transfer.webdav.writes.cleanups import CleanUps


async def cancelled_request(clean_ups: CleanUps, done: asyncio.Event, seconds: float) -> None:
    """Begin a clean-up in a request, and cancel the request twice: by its engine and its end."""

    async def work() -> None:
        await asyncio.sleep(seconds)
        done.set()

    async def request() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await clean_ups.run(work())

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("ends_before", [False, True])
@pytest.mark.parametrize(("seconds", "is_done"), [(0.05, True), (60.0, False)])
def test_clean_up_of_a_cancelled_request_ends_soon(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_done: bool, ends_before: bool
) -> None:
    monkeypatch.setattr(cleanups, "_SECONDS", 4.0 if is_done else 0.3)

    async def run() -> None:
        clean_ups, done = CleanUps(), asyncio.Event()
        if ends_before:
            clean_ups.begin_end()
        await cancelled_request(clean_ups, done, seconds)
        if not ends_before:
            clean_ups.begin_end()
        await asyncio.wait_for(clean_ups.ended(), 5)
        assert done.is_set() is is_done
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_clean_up_has_no_limit_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanups, "_SECONDS", 0.0)

    async def run() -> None:
        clean_ups, done = CleanUps(), asyncio.Event()
        await cancelled_request(clean_ups, done, 0.05)
        await asyncio.wait_for(done.wait(), 5)

    asyncio.run(run())
