"""Waits before another try: they double with jitter, and a server's Retry-After counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from efss_transfer.backoff import Backoff, retry_after_seconds


def test_waits_double_with_jitter_up_to_the_longest() -> None:
    backoff = Backoff(first=1.0, longest=60.0, jitter=0.5)
    for tries, base in enumerate((1, 2, 4, 8, 16, 32, 60, 60), start=1):
        waits = {backoff.seconds(tries) for _ in range(50)}
        assert all(base <= wait <= base + 0.5 for wait in waits)
        assert len(waits) > 1


def test_many_tries_do_not_overflow() -> None:
    assert Backoff(1.0, 60.0, 0.0).seconds(10_000) == 60.0


def test_the_wait_is_at_least_what_a_server_asks_for() -> None:
    backoff = Backoff(first=1.0, longest=60.0, jitter=0.5)
    assert backoff.seconds(1, asked=300.0) == 300.0
    assert backoff.seconds(3, asked=1.0) >= 4.0


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_seconds("120") == 120.0
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 85 < (retry_after_seconds(format_datetime(later, usegmt=True)) or 0) <= 90
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 -0000") == 0.0


def test_endless_digits_are_a_finite_wait() -> None:
    assert retry_after_seconds("9" * 400) == 999_999_999.0


@pytest.mark.parametrize("header", [None, "soon", "", "-1", "1e3", "٣"])
def test_an_unreadable_retry_after_asks_for_nothing(header: str | None) -> None:
    assert retry_after_seconds(header) is None
