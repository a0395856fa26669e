"""An attempt ends early at an outage, an unlisted destination, or a failure if so requested."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.early_stop import EarlyStop
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Failure, FileOutcome, FileState
from support.rclone_log import DENIED, NO_LISTING, ParsedLog, parsed

BUSY = Failure("storage_busy", "later", retryable=True)


@pytest.fixture
def log() -> ParsedLog:
    return parsed()


def early_stop(log: ParsedLog, *, on_first_failure: bool = False) -> EarlyStop:
    rc = RcClient(Path("/nonexistent/socket"), 1.0)
    context = Context(time.monotonic() + 60)
    run = RunContext(rc, log.parser, log.outcomes, Redactor([]), context, 1.0)
    on_error = "stop" if on_first_failure else "continue"
    return EarlyStop(run, ProgressReporter(run), on_error)


def test_attempt_continues_after_failure_by_default(log: ParsedLog) -> None:
    stop = early_stop(log)
    log.parser.take(DENIED.encode())
    assert not stop.should_stop()
    assert not stop.has_stopped
    assert not stop.rules_out_retry


def test_attempt_stops_at_first_failure_if_requested(log: ParsedLog) -> None:
    stop = early_stop(log, on_first_failure=True)
    assert not stop.should_stop()
    log.parser.take(DENIED.encode())
    assert stop.should_stop()
    assert stop.has_stopped
    assert stop.rules_out_retry


def test_held_back_failure_stops_attempt_but_allows_retry(log: ParsedLog) -> None:
    stop = early_stop(log, on_first_failure=True)
    log.outcomes.begin_attempt(last=False)
    log.outcomes.add(FileOutcome("f", FileState.FAILED, error=BUSY))
    assert stop.should_stop()
    assert not stop.rules_out_retry


def test_attempt_stops_if_destination_cannot_be_listed(log: ParsedLog) -> None:
    stop = early_stop(log)
    log.parser.take(NO_LISTING.encode())
    assert stop.should_stop()


def test_attempt_stops_at_outage_and_next_one_begins_anew(log: ParsedLog) -> None:
    stop = early_stop(log)
    log.outcomes.begin_attempt(last=False)
    for number in range(8):
        assert not stop.should_stop()
        log.outcomes.add(FileOutcome(f"{number}", FileState.FAILED, error=BUSY))
    assert stop.should_stop()
    # A success afterwards does not undo the decision.
    log.outcomes.add(FileOutcome("late", FileState.TRANSFERRED, 1))
    assert stop.should_stop()
    stop.begin_attempt()
    log.outcomes.begin_attempt(last=False)
    assert not stop.should_stop()
