"""Which step has failed, by the code of the failure."""

from __future__ import annotations

import pytest

from efss_transfer.engines.check_steps import look_steps
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure

NOTHING = ("ok", "ok", "ok")


@pytest.mark.parametrize(
    ("code", "states"),
    [
        ("storage_unreachable", ("failed", "skipped", "skipped")),
        ("forbidden", ("failed", "skipped", "skipped")),
        ("incomplete", ("failed", "skipped", "skipped")),
        ("authentication_failed", ("ok", "failed", "skipped")),
        ("permission_denied", ("ok", "ok", "failed")),
        ("source_not_found", ("ok", "ok", "failed")),
        ("storage_error", ("ok", "skipped", "failed")),
        ("storage_busy", ("ok", "skipped", "failed")),
        ("unsupported", ("ok", "skipped", "failed")),
    ],
)
def test_failure_belongs_to_one_step(code: str, states: tuple[str, ...]) -> None:
    failure = Failure(code, "Words.", CODES[code].retryable)
    steps = look_steps(failure)
    assert tuple(step.state.value for step in steps) == states
    assert [step.failure for step in steps if step.failure] == [failure]


def test_without_a_failure_all_are_ok() -> None:
    assert tuple(step.state.value for step in look_steps(None)) == NOTHING
