"""The reasons that storages give for a copy that failed, as codes and sides."""

from __future__ import annotations

import pytest

from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.tpc import failures
from efss_transfer.model.result import Side

REDACTOR = Redactor(["canary-secret"])


@pytest.mark.parametrize(
    ("rule", "text"), [(rule, text) for rule in failures.RULES for text in rule.examples]
)
@pytest.mark.parametrize("active", Side)
def test_each_rule_finds_its_examples(rule: failures.ReasonRule, text: str, active: Side) -> None:
    found = failures.of_reason(text, active, REDACTOR)
    assert found.code == rule.code
    if rule.is_passive:
        assert found.side is not active


@pytest.mark.parametrize(
    ("text", "active", "code", "side"),
    [
        (
            'Remote side failed with status code 404; error message: "Unable to open /a "',
            Side.DESTINATION,
            "source_not_found",
            Side.SOURCE,
        ),
        ("rejected GET: 403 Forbidden", Side.DESTINATION, "permission_denied", Side.SOURCE),
        ("rejected PUT: 507 Full", Side.SOURCE, "quota_exceeded", Side.DESTINATION),
        ("HTTP/1.1 401 Unauthorized", Side.SOURCE, "authentication_failed", Side.DESTINATION),
        ("something new", Side.DESTINATION, "storage_error", Side.DESTINATION),
    ],
)
def test_status_of_the_other_storage_decides(
    text: str, active: Side, code: str, side: Side
) -> None:
    found = failures.of_reason(text, active, REDACTOR)
    assert (found.code, found.side) == (code, side)


def test_secret_in_a_reason_is_not_shown() -> None:
    found = failures.of_reason("token canary-secret is wrong", Side.SOURCE, REDACTOR)
    assert "canary" not in found.message


@pytest.mark.parametrize("is_markers", [True, False])
def test_answer_without_an_outcome_is_a_failure(is_markers: bool) -> None:
    found = failures.without_outcome(Side.SOURCE, is_markers=is_markers)
    assert (found.code, found.retryable) == ("storage_error", is_markers)


def test_copy_in_which_nothing_moves_may_be_tried_again() -> None:
    assert failures.stalled(Side.SOURCE, 60).retryable
