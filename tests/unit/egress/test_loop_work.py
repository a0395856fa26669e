"""Work that is stopped is done once its coroutine has ended."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from efss_transfer.egress.proxy import guard

PATIENCE = 30


def test_stopped_work_is_done_once_its_coroutine_has_ended() -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.2)
            cleaned.set()

    with guard(lambda *_: False) as gate:
        done = gate.start(work)
        assert begun.wait(PATIENCE)
        done.stop()
        with pytest.raises(CancelledError):
            done.result(PATIENCE)
        assert cleaned.is_set()


def test_work_is_stopped_before_it_begins() -> None:
    with guard(lambda *_: False) as gate:
        held = threading.Event()
        gate.call_soon(lambda: held.wait(PATIENCE))
        done = gate.start(asyncio.Event().wait)
        done.stop()
        held.set()
        with pytest.raises(CancelledError):
            done.result(PATIENCE)


def test_outcome_of_work_that_has_ended_stays() -> None:
    async def work() -> int:
        return 7

    with guard(lambda *_: False) as gate:
        done = gate.start(work)
        assert done.result(PATIENCE) == 7
        done.stop()
        assert done.result(PATIENCE) == 7
