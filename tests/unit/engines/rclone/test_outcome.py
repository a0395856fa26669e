"""However a run ends, its exception becomes the right state and code."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.outcome import RunOutcome
from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.engines.rclone.rc.jobs import TransferInterrupted
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.job import Transfer
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import Failure, Result, Side, State
from support.rclone_log import COPIED, CREATING, DENIED, ParsedLog, parsed

REDACTOR = Redactor(["canary-password"])
BUSY = Failure("storage_busy", "later", retryable=True, side=Side.SOURCE)


def outcome_of(log: ParsedLog, *, with_transfer: bool = True) -> RunOutcome:
    outcome = RunOutcome(log.outcomes, log.parser, REDACTOR)
    if with_transfer:
        rc, context = RcClient(Path("/nonexistent/socket"), 1.0), Context(time.monotonic() + 60)
        run = RunContext(rc, log.parser, log.outcomes, REDACTOR, context, 1.0)
        end = Endpoint("webdav", {"url": "http://127.0.0.1:1"}, "a")
        outcome.transfer = Transfer(run, TransferRequest(end, end), Settings.read({}), 1)
    return outcome


def ended(log: ParsedLog, error: BaseException | None = None) -> Result:
    outcome = outcome_of(log)
    with outcome.from_exceptions():
        if error is not None:
            raise error
    return outcome.result("rclone", "1.75.2")


@pytest.mark.parametrize(
    ("lines", "state", "code"),
    [
        ((COPIED,), State.SUCCEEDED, None),
        ((), State.SUCCEEDED, None),
        ((COPIED, DENIED), State.PARTIAL, "partial"),
        ((DENIED,), State.FAILED, "permission_denied"),
    ],
    ids=["copied", "empty", "some failed", "all failed"],
)
def test_state_follows_from_files_if_nothing_was_raised(
    lines: tuple[str, ...], state: State, code: str | None
) -> None:
    result = ended(parsed(*lines))
    assert (result.state, result.code) == (state, code)
    assert result.engine_report["version"] == "1.75.2"


@pytest.mark.parametrize(
    ("error", "state", "code", "exit_code"),
    [
        (TransferInterrupted(State.INCOMPLETE), State.INCOMPLETE, "incomplete", 10),
        (TransferInterrupted(State.CANCELLED), State.CANCELLED, "cancelled", 143),
        (CopyRefused(BUSY), State.PARTIAL, "partial", 1),
        (EngineError("rclone ended."), State.FAILED, "engine_failed", 1),
    ],
    ids=["deadline", "cancelled", "refused", "daemon died"],
)
def test_exception_becomes_state(error: Exception, state: State, code: str, exit_code: int) -> None:
    result = ended(parsed(COPIED), error)
    assert (result.state, result.code) == (state, code)
    assert result.engine_report["exit_code"] == exit_code
    assert result.totals.transferred == 1


def test_rc_error_is_classified_without_secrets_at_side_opened_last() -> None:
    error = RcError("config/create", "401 Unauthorized: canary-password")
    result = ended(parsed(CREATING % "source"), error)
    assert (result.state, result.code) == (State.FAILED, "authentication_failed")
    assert result.errors[0].side is Side.SOURCE
    assert "canary" not in str(result)


def test_engine_error_before_transfer_is_raised() -> None:
    outcome = outcome_of(parsed(), with_transfer=False)
    with pytest.raises(EngineError, match="no rclone"), outcome.from_exceptions():
        raise EngineError("no rclone")


def test_other_exceptions_and_abandoned_runs_are_raised() -> None:
    for error in (GeneratorExit, KeyError):
        with pytest.raises(error), outcome_of(parsed()).from_exceptions():
            raise error


def test_held_back_failures_are_final_afterwards() -> None:
    log = parsed()
    log.outcomes.begin_attempt(last=False)
    log.outcomes.add_error(BUSY)
    assert log.outcomes.errors == ()
    result = ended(log, TransferInterrupted(State.INCOMPLETE))
    assert [group.code for group in result.errors] == ["storage_busy"]
