"""Answers that are no success, as RFC 9457 has them: a status, headers, a document."""

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
from efss_transfer.model.result import Json, Result

RETRY_AFTER: Final = {"busy": 5, "storage_busy": 30, "incomplete": 0}
"""Seconds after which a retry may help, by code."""


@dataclass(frozen=True)
class ProblemDocument:
    """An answer as application/problem+json."""

    status: int
    document: dict[str, Json]
    headers: dict[str, str] = field(default_factory=dict)


def of_error(error: EfssTransferError) -> ProblemDocument:
    """What a caller is told of an error."""
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
    """What a caller is told of a transfer that ran and did not succeed."""
    reasons = [
        f"{CODES[group.code].title}{f', at the {group.side.value}' if group.side else ''}"
        + (f": {group.samples[0].message}" if group.samples else "")
        for group in result.errors[:3]
    ]
    detail = "; ".join(reasons) or CODES[code].title + "."
    return _problem(code, detail, result.retryable, {}, result=result.to_json())


def of_plan(reasons: Sequence[tuple[str, str]], plan: Json) -> ProblemDocument:
    """What a caller is told of a plan that cannot work, for these reasons: codes and texts."""
    code = reasons[0][0]
    detail = " ".join(text for _, text in reasons)
    return _problem(code, detail, CODES[code].retryable, {}, plan=plan)


def of_defect() -> ProblemDocument:
    """What a caller is told of an error that nobody expected."""
    return _problem("internal", CODES["internal"].title + "; its log says where.", False, {})


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
