"""A transfer that a storage refused, as tests compare it."""

from __future__ import annotations

from typing import Any

import requests

from support import contract

# A request may ask for several attempts; these tests look at one alone.
ONE_ATTEMPT: dict[str, Any] = {"attempts": 1}
SECONDS = 20.0
"""The longest that a request may take if its storage answers at all."""


def reported_error(answer: requests.Response) -> tuple[Any, str, str | None, bool]:
    """Return the problem, which must fit its schema, and the only error in it."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert contract.complaints("problem", problem) == []
    (group,) = problem["result"]["errors"]
    assert group["count"] == 1
    assert problem["retryable"] is group["retryable"]
    return problem, group["code"], group.get("side"), group["retryable"]
