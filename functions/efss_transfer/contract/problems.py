"""Builds problem documents (RFC 9457) from errors, results and plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.model.errors import (
    CODES,
    EfssTransferError,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    Unauthenticated,
)
from efss_transfer.model.result import Failure, Json, Result

RETRY_AFTER: Final = {"busy": 5, "storage_busy": 30, "incomplete": 0}
"""Seconds to wait before a retry, by code."""
# Their titles are about a transfer.
_OF_A_SIDE: Final = frozenset({"source_not_found", "not_a_directory", "incomplete"})


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
    reasons = [
        f"{CODES[group.code].title}{f', at the {group.side.value}' if group.side else ''}"
        + (f": {group.samples[0].message}" if group.samples else "")
        for group in result.errors[:3]
    ]
    detail = "; ".join(reasons) or CODES[code].title + "."
    return _problem(code, detail, result.retryable, {}, result=result.to_json())


def of_failure(failure: Failure) -> ProblemDocument:
    """The problem document for a look at a storage that failed."""
    detail = failure.message
    if failure.code not in _OF_A_SIDE:
        detail = f"{CODES[failure.code].title}: {detail}"
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
