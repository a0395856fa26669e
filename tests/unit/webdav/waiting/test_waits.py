"""Waits of a gateway's requests, as another thread reads them."""

from __future__ import annotations

import time

import pytest

from efss_transfer.model.events import Wait, WaitReason
from efss_transfer.model.result import Side
from efss_transfer.webdav.waiting.waits import Waits


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_time_that_the_server_named_is_told_and_goes_down(clock: list[float]) -> None:
    waits = Waits()
    waits.name_server("owncloud")
    with waits.during(429, "raw/a.h5", 20, 20), waits.during(503, "b", 30):
        clock[0] += 5
        assert waits.longest(Side.SOURCE) == Wait(
            WaitReason.SERVER_BUSY, Side.SOURCE, "ownCloud", "", 15
        )
        clock[0] += 60
        assert waits.longest(Side.SOURCE) == Wait(
            WaitReason.SERVER_BUSY, Side.SOURCE, "ownCloud", "", 0
        )
    assert waits.longest(Side.SOURCE) is None


def test_guessed_time_is_not_told_and_a_file_is(clock: list[float]) -> None:
    waits = Waits()
    waits.name_server("plain")
    with waits.during(425, "raw/a.h5", 2):
        assert waits.longest(Side.DESTINATION) == Wait(
            WaitReason.FILE_PROCESSING, Side.DESTINATION, "", "raw/a.h5"
        )


@pytest.mark.parametrize(("status", "seconds"), [(423, 0.4), (500, 9), (None, 9)])
def test_moment_and_other_answers_are_no_waits(
    clock: list[float], status: int | None, seconds: float
) -> None:
    waits = Waits()
    with waits.during(status, "a", seconds):
        assert waits.longest(Side.SOURCE) is None


def test_wait_ends_with_an_error_too() -> None:
    waits = Waits()
    with pytest.raises(RuntimeError), waits.during(423, "a", 9):
        raise RuntimeError
    assert waits.longest(Side.SOURCE) is None
