"""An outage is that nothing gets through and all is refused, for long enough."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.hangs.outage import OutageWatch
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.events import InFlight
from support.rclone_log import COPIED, WANTED, ParsedLog, parsed, states

MIB = 1 << 20


class Clock:
    """The time that the watch sees."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A watch of a copy, with its log and what is in flight."""

    def __init__(self, clock: Clock) -> None:
        self.log: ParsedLog = parsed()
        self.clock = clock
        rc = RcClient(Path("/nonexistent/socket"), 1.0)
        context = Context(clock.now + 600)
        run = RunContext(rc, self.log.parser, self.log.outcomes, Redactor([]), context, 1.0)
        self.progress = ProgressReporter(run)
        self.watch = OutageWatch(run, self.progress)
        self.begin(last=False)

    def begin(self, *, last: bool) -> None:
        self.log.outcomes.begin_attempt(last=last)
        self.log.parser.begin_attempt()
        self.watch.begin_attempt()
        self.watch.begin_copy()

    def line(self, message: str, name: str) -> None:
        entry = {"level": "debug", "msg": message, "object": name}
        self.log.parser.take(json.dumps(entry).encode())

    def refuse(self, path: str = "one", times: int = 4) -> None:
        for number in range(times):
            text = "unchunked simple update failed: 500 Internal Server Error"
            self.line(f"Received error: {text} - low level retry {number}/10", path)

    def after(self, seconds: float) -> bool:
        self.clock.now += seconds
        return self.watch.should_stop()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return Watched(clock)


def test_outage_lasts_ten_seconds_and_then_four(watched: Watched) -> None:
    watched.refuse()
    assert not watched.after(9)
    assert watched.after(1.1)
    watched.begin(last=True)
    watched.refuse()
    assert not watched.after(3)
    assert watched.after(1.1)


def test_only_attempt_waits_longer(watched: Watched) -> None:
    watched.begin(last=True)
    watched.refuse()
    assert not watched.after(19)
    assert watched.after(1.1)


def test_silence_without_refusals_is_none(watched: Watched) -> None:
    watched.refuse(times=3)
    assert not watched.after(300)


def test_file_that_arrives_begins_the_wait_anew(watched: Watched) -> None:
    watched.refuse("two")
    watched.clock.now += 8
    watched.log.parser.take(COPIED.encode())
    assert not watched.after(0)
    watched.refuse("two")
    assert not watched.after(9)
    assert watched.after(1.1)


def test_listing_that_goes_on_is_none(watched: Watched) -> None:
    for listed in range(1, 5):
        watched.refuse()
        watched.progress.listed = listed
        assert not watched.after(9)


def test_large_file_that_goes_on_is_none(watched: Watched) -> None:
    for sent in range(1, 6):
        watched.refuse()
        watched.progress.stalls.observe([InFlight("big", sent * MIB, 100 * MIB)])
        assert not watched.after(9)
    watched.refuse()
    # A repeated upload sends what was sent before.
    watched.progress.stalls.observe([InFlight("big", MIB, 100 * MIB)])
    assert watched.after(10.1)


def test_large_file_that_is_being_stored_is_waited_for(watched: Watched) -> None:
    watched.progress.stalls.observe([InFlight("big", 5 * MIB, 5 * MIB)])
    watched.refuse()
    assert not watched.after(30)
    assert not watched.after(80)
    watched.refuse()
    assert watched.after(30)


def test_files_are_told_once_nothing_is_hoped_for(watched: Watched) -> None:
    for last in (False, True):
        watched.begin(last=last)
        watched.log.parser.take(WANTED.encode())
        watched.log.parser.take(WANTED.replace('"one"', '"two"').encode())
        watched.refuse()
        assert watched.after(20.1)
        watched.watch.settle()
        assert states(watched.log) == ({"one": "failed", "two": "failed"} if last else {})
    (group,) = watched.log.outcomes.errors
    assert (group.code, group.count, group.retryable) == ("storage_error", 2, True)
    assert "500 Internal Server Error" in group.samples[0].message
    # rclone may report the end of the first only now.
    line = WANTED.replace("Need to transfer - File not found at Destination", "Failed to copy: x")
    watched.log.parser.take(line.replace('"debug"', '"error"').encode())
    assert watched.log.outcomes.totals.failed == 2


def test_outage_before_any_file_is_an_error(watched: Watched) -> None:
    for _ in range(4):
        watched.line("low level retry 1/10 (error 503 Service Unavailable)", "pacer")
    assert watched.after(10.1)
    watched.watch.settle()
    (failure,) = watched.log.outcomes.held_back_failures
    assert failure.retryable
    assert "503 Service Unavailable" in failure.message


def test_storage_that_refuses_each_file_for_itself_is_there(watched: Watched) -> None:
    watched.refuse()
    assert not watched.after(9)
    failed = '{"level":"error","msg":"Failed to copy: 414 Request-URI Too Long","object":"long"}'
    watched.log.parser.take(failed.encode())
    assert not watched.after(2)


def test_nothing_is_watched_after_the_copy(watched: Watched) -> None:
    watched.refuse()
    watched.watch.settle()
    assert not watched.after(300)
    assert watched.log.outcomes.held_back_failures == ()


def test_file_that_fails_among_many_is_tried_again(watched: Watched) -> None:
    failed = '{"level":"error","msg":"Failed to copy: 500 Internal Server Error","object":"%s"}'
    watched.refuse("0")
    watched.log.parser.take((failed % "0").encode())
    assert states(watched.log) == {"0": "failed"}
    for number in range(1, 9):
        watched.refuse(f"{number}")
    watched.log.parser.take((failed % "1").encode())
    assert states(watched.log) == {}
    assert watched.log.outcomes.files_to_retry == ("1",)
