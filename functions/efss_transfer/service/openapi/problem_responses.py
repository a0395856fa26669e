"""Describes the problem documents that an operation may respond with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from efss_transfer.contract.problems import RETRY_AFTER, ProblemDocument
from efss_transfer.model.errors import CODES
from efss_transfer.service.openapi import examples
from efss_transfer.service.openapi.components import reference

PROBLEM: Final = "application/problem+json"


def problem_responses(
    codes: set[str], example: Callable[[str], ProblemDocument] = examples.problem
) -> dict[str, Any]:
    """The responses with these codes, by their statuses, each with an example of every code."""
    statuses: dict[str, list[str]] = {}
    for code in sorted(codes):
        statuses.setdefault(str(CODES[code].status), []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {CODES[code].title}" for code in named) + ".",
            "headers": _headers(named),
            "content": {
                PROBLEM: {
                    "schema": reference("problem"),
                    "examples": {
                        code: {
                            "summary": CODES[code].title,
                            "value": example(code).document,
                        }
                        for code in named
                    },
                }
            },
        }
        for status, named in sorted(statuses.items())
    }


def _headers(codes: list[str]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if any(code in RETRY_AFTER for code in codes):
        headers["Retry-After"] = {
            "description": "Seconds to wait before sending the same request again.",
            "schema": {"type": "integer"},
        }
    if "unauthenticated" in codes:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if "method_not_allowed" in codes:
        headers["Allow"] = {"schema": {"type": "string"}}
    return headers
