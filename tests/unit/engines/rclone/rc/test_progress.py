"""Files in flight are read from rclone's statistics."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.rc.progress import ProgressReporter, in_flight
from efss_transfer.model.events import InFlight, Phase, Progress, Wait, WaitReason
from efss_transfer.model.result import Side
from efss_transfer.webdav.waiting.waits import Waits


def test_files_in_flight_have_bytes_and_size() -> None:
    transferring = [
        {"name": "a", "bytes": 5, "size": 10},
        {"name": "size known at the end", "bytes": 7, "size": -1},
        {"name": "just begun", "size": 3},
    ]
    assert in_flight({"transferring": transferring}) == (
        InFlight("a", 5, 10),
        InFlight("size known at the end", 7, None),
        InFlight("just begun", 0, 3),
    )


def test_no_file_is_in_flight_without_statistics() -> None:
    assert in_flight({}) == ()
    assert in_flight({"transferring": None}) == ()


def reporter_of(rc: SimpleNamespace, **gateways: SimpleNamespace) -> ProgressReporter:
    known = {Side(side): record for side, record in gateways.items()}
    run = SimpleNamespace(rc=rc, outcomes=FileOutcomes(), gateways=known)
    return ProgressReporter(cast("Any", run))


def test_longest_wait_of_both_sides_is_told_and_then_that_for_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    source, destination = Waits(), Waits()
    source.name_server("nextcloud")
    reporter = reporter_of(
        SimpleNamespace(stats=dict),
        source=SimpleNamespace(waits=source),
        destination=SimpleNamespace(waits=destination),
    )

    def waiting() -> Wait | None:
        clock[0] += 1
        (progress,) = reporter.events()
        assert isinstance(progress, Progress)
        return progress.waiting

    assert waiting() is None
    with destination.during(423, "a", 60):
        assert waiting() == Wait(WaitReason.FILE_LOCKED, Side.DESTINATION, "", "a")
        with source.during(503, "b", 20, 20):
            assert waiting() == Wait(WaitReason.SERVER_BUSY, Side.SOURCE, "Nextcloud", "", 19)
    assert waiting() is None
    reporter.phase, reporter.next_attempt_at = Phase.WAITING, clock[0] + 5
    assert waiting() == Wait(WaitReason.NEXT_ATTEMPT, seconds=4)


def test_time_left_is_told_once_it_is_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    stats: dict[str, Any] = {}
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    rc = SimpleNamespace(stats=lambda: stats)
    reporter = reporter_of(rc)

    def left(**now: Any) -> float | None:
        clock[0] += 1
        stats.update(now)
        (progress,) = reporter.events()
        assert isinstance(progress, Progress)
        return progress.eta_seconds

    assert left(totalBytes=400_000_000, bytes=0, eta=0) is None
    clock[0] -= 0.4
    assert left(bytes=1_000_000, eta=0) is None  # after 0.6 s
    assert left(eta=40) == 40
    assert left(eta=None) is None
    assert left(bytes=400_000_000, eta=1) is None
