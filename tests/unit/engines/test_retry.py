"""How long is waited before another attempt, and when there is none."""

from __future__ import annotations

import time

import pytest

from efss_transfer.engines.base import Context
from efss_transfer.engines.retry import RetrySchedule, asked_for
from efss_transfer.model.result import Failure


def failure(message: str = "busy") -> Failure:
    return Failure("storage_busy", message, retryable=True)


def context(seconds: float = 3600) -> Context:
    return Context(time.monotonic() + seconds)


def test_the_wait_doubles_with_jitter_and_the_number_is_a_bound() -> None:
    seen: set[float] = set()
    for _ in range(20):
        patience = RetrySchedule(4, 4.0, context())
        waits = []
        assert not patience.is_last()
        while (wait := patience.after([failure()])) is not None:
            waits.append(wait)
        assert patience.is_last()
        assert len(waits) == 3
        for wait, base in zip(waits, (4, 8, 16), strict=True):
            assert base <= wait <= base + 2
        seen.add(waits[0])
    assert len(seen) > 1


def test_the_wait_has_a_bound_of_its_own() -> None:
    patience = RetrySchedule(10, 50.0, context(10_000))
    assert [patience.after([failure()]) for _ in range(3)][2] <= 60 + 25  # type: ignore[operator]


def test_one_attempt_is_the_last() -> None:
    patience = RetrySchedule(1, 4.0, context())
    assert patience.is_last()
    assert patience.after([failure()]) is None


def test_no_attempt_begins_too_late() -> None:
    assert RetrySchedule(3, 4.0, context(3)).after([failure()]) is None
    late = Context(time.monotonic() + 100, last_start=time.monotonic() + 3)
    assert RetrySchedule(3, 4.0, late).after([failure()]) is None
    assert RetrySchedule(3, 4.0, context(10)).after([failure()]) is not None


def test_what_a_storage_asks_for_is_waited_if_it_is_longer() -> None:
    assert RetrySchedule(3, 1.0, context()).after([failure("try again in 30 seconds")]) == 30
    assert 1 <= (RetrySchedule(3, 1.0, context()).after([failure("retry after 0 s")]) or 0) < 2
    assert RetrySchedule(3, 1.0, context(20)).after([failure("try again in 30 seconds")]) is None


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Too many requests. Trying again in 300 seconds.", 300),
        ("too_many_requests: Retry-After: 15", 15),
        ("retry after 7 s", 7),
        ("Please try again after 12 seconds", 12),
        ("503 Service Unavailable", 0),
        ("try again later", 0),
        ("try again in 5.5", 0),
        ("entry after 9", 0),
    ],
)
def test_what_a_storage_says_of_later(message: str, seconds: float) -> None:
    assert asked_for([failure("busy"), failure(message)]) == seconds
