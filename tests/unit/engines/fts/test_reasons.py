"""Reasons of FTS become codes, by examples that stand beside each rule."""

from __future__ import annotations

import pytest

from efss_transfer.engines.fts.reasons import RULES, lacks_checksum, of_reason, says_exists
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Side

REDACTOR = Redactor(["canary-token"])


@pytest.mark.parametrize(
    ("example", "code"), [(example, rule.code) for rule in RULES for example in rule.examples]
)
def test_example_of_a_rule_has_its_code(example: str, code: str) -> None:
    assert of_reason(example, REDACTOR).code == code


@pytest.mark.parametrize(
    ("reason", "code", "side", "retryable"),
    [
        ("SOURCE [2] No such file or directory", "source_not_found", Side.SOURCE, False),
        ("DESTINATION [2] No such file or directory", "storage_error", Side.DESTINATION, True),
        ("TRANSFER [70] rejected GET: 403 Forbidden", "permission_denied", None, False),
        ("TRANSFER [70] no success at /data/404/507.txt", "storage_error", None, True),
        ("", "storage_error", None, True),
    ],
)
def test_side_and_retry_of_a_reason(
    reason: str, code: str, side: Side | None, retryable: bool
) -> None:
    failure = of_reason(reason, REDACTOR)
    assert (failure.code, failure.side, failure.retryable) == (code, side, retryable)
    assert failure.message


def test_no_secret_is_shown() -> None:
    failure = of_reason("SOURCE [13] wrong canary-token at davs://h/f?t=canary-token", REDACTOR)
    assert "canary" not in failure.message


def test_what_is_no_failure_is_known() -> None:
    assert says_exists("DESTINATION [17] File exists and overwrite is not enabled")
    assert not says_exists("SOURCE [2] No such file or directory")
    assert lacks_checksum("SOURCE [95] Checksum adler32 not supported by the storage")
    assert not lacks_checksum("TRANSFER [5] SOURCE CHECKSUM MISMATCH")
