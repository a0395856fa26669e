"""Decides which step of a check a failed look at a storage has failed in."""

from __future__ import annotations

from typing import Final

from efss_transfer.model.result import Failure
from efss_transfer.model.storage_check import CheckName, CheckStep, StepState

_NOT_REACHED: Final = frozenset({"storage_unreachable", "forbidden", "incomplete"})
# The server knew who asked: it looked for the path, or at the caller's rights.
_SIGNED_IN: Final = frozenset({"permission_denied", "source_not_found", "not_a_directory"})


def look_steps(failure: Failure | None) -> tuple[CheckStep, ...]:
    """The steps before writing, given why the look at the path failed."""
    if failure is None:
        return tuple(_ok(name) for name in (CheckName.REACH, CheckName.SIGN_IN, CheckName.READ))
    if failure.code in _NOT_REACHED:
        return (
            _failed(CheckName.REACH, failure),
            skipped(CheckName.SIGN_IN),
            skipped(CheckName.READ),
        )
    if failure.code == "authentication_failed":
        return (
            _ok(CheckName.REACH),
            _failed(CheckName.SIGN_IN, failure),
            skipped(CheckName.READ),
        )
    known = failure.code in _SIGNED_IN
    signed_in = _ok(CheckName.SIGN_IN) if known else skipped(CheckName.SIGN_IN)
    return _ok(CheckName.REACH), signed_in, _failed(CheckName.READ, failure)


def write_step(failure: Failure | None) -> CheckStep:
    """The step of writing, given why it failed."""
    return _ok(CheckName.WRITE) if failure is None else _failed(CheckName.WRITE, failure)


def skipped(name: CheckName) -> CheckStep:
    """A step that was not taken."""
    return CheckStep(name, StepState.SKIPPED)


def _ok(name: CheckName) -> CheckStep:
    return CheckStep(name, StepState.OK)


def _failed(name: CheckName, failure: Failure) -> CheckStep:
    return CheckStep(name, StepState.FAILED, failure)
