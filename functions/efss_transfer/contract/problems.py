"""Builds problem documents (RFC 9457) from errors, results and plans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.model.errors import (
    CODES,
    STILL_RUNNING,
    EfssTransferError,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    Unauthenticated,
)
from efss_transfer.model.result import ErrorGroup, Failure, Json, Result

RETRY_AFTER: Final = {"busy": 5, "storage_busy": 30, "incomplete": 0, STILL_RUNNING: 30}
"""Seconds to wait before a retry, by code."""
# Their titles are about a transfer.
_OF_A_SIDE: Final = frozenset({"source_not_found", "not_a_directory", "incomplete"})
_NAMES_ITS_SIDE: Final = frozenset({"source_not_found", "destination_not_found"})
# What to do, for failures that rclone describes in a few words.
_ADVICE: Final = {
    "storage_unreachable": "Check its address and its port, and whether it runs.",
    "source_not_found": "Check `path` of the source.",
}
# The end of a chain of rclone's: what was dialled, and what came of it.
_DIALLED: Final = re.compile(r"[^\s\"]+:\d+: [\w ]+$")


@dataclass(frozen=True)
class ProblemDocument:
    """A response of the type application/problem+json."""

    status: int
    document: dict[str, Json]
    headers: dict[str, str] = field(default_factory=dict)


def of_error(error: EfssTransferError) -> ProblemDocument:
    """The problem document for an error that was raised."""
    extra: dict[str, Json] = {}
    headers: dict[str, str] = {}
    if isinstance(error, InvalidRequest | Forbidden):
        extra["errors"] = [violation.to_json() for violation in error.violations]
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="efss-transfer"'
    return _problem(error.code, str(error), error.retryable, headers, **extra)


def of_result(code: str, result: Result) -> ProblemDocument:
    """The problem document for a transfer that ran and did not succeed."""
    reasons = [_reason(group) for group in result.errors[:3]]
    detail = "; ".join(reasons) or CODES[code].title + "."
    return _problem(code, detail, result.retryable, {}, result=result.to_json())


def _reason(group: ErrorGroup) -> str:
    title = CODES[group.code].title
    if group.side is not None and group.code not in _NAMES_ITS_SIDE:
        title += f", at the {group.side.value}"
    return title + (f": {_advised(group.code, group.samples[0].message)}" if group.samples else "")


def _advised(code: str, message: str) -> str:
    """A message with what to do, if it does not say so itself."""
    if code not in _ADVICE or "Check" in message or "check" in message:
        return message
    if dialled := _DIALLED.search(message):
        message = dialled[0]
    return f"{message.removesuffix('.')}. {_ADVICE[code]}"


def of_failure(failure: Failure) -> ProblemDocument:
    """The problem document for a look at a storage that failed."""
    detail = failure.message
    if failure.code not in _OF_A_SIDE:
        detail = f"{CODES[failure.code].title}: {_advised(failure.code, detail)}"
    return _problem(failure.code, detail, failure.retryable, {})


def of_plan(reasons: Sequence[tuple[str, str]], plan: Json) -> ProblemDocument:
    """The problem document for a plan that cannot work. `reasons` are codes and texts."""
    code = reasons[0][0]
    detail = " ".join(text for _, text in reasons)
    return _problem(code, detail, CODES[code].retryable, {}, plan=plan)


def of_defect() -> ProblemDocument:
    """The problem document for an unexpected exception."""
    detail = CODES["internal"].title + "; its operator finds the cause in the service's log."
    return _problem("internal", detail, False, {})


def _problem(
    code: str, detail: str, retryable: bool, headers: dict[str, str], **extra: Json
) -> ProblemDocument:
    known = CODES[code]
    if code in RETRY_AFTER and retryable:
        headers = {**headers, "Retry-After": str(RETRY_AFTER[code])}
    document: dict[str, Json] = {
        "type": f"urn:efss-transfer:problem:{code}",
        "title": known.title,
        "status": known.status,
        "code": code,
        "retryable": retryable,
        "detail": detail,
    }
    return ProblemDocument(known.status, document | extra, headers)
