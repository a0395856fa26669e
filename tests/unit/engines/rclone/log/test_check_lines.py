"""The log lines of a verification become counts and mismatches."""

from __future__ import annotations

import json

import pytest

from efss_transfer.engines.rclone.log.check_lines import CheckCounts
from efss_transfer.model.result import Side
from support.rclone_log import COPIED, CUT_OFF, ParsedLog, parsed, states


def line(message: str, level: str = "error") -> bytes:
    """A line about the file `one`, as operations/check.go logs it."""
    return json.dumps({"level": level, "msg": message, "object": "one"}).encode()


def verifying() -> tuple[ParsedLog, CheckCounts]:
    """A log in which the file `one` was copied and is now verified."""
    log, counts = parsed(COPIED), CheckCounts()
    assert states(log) == {"one": "transferred"}
    log.outcomes.begin_attempt(last=True)
    log.parser.begin_verification(counts)
    return log, counts


@pytest.mark.parametrize(
    ("message", "counted"),
    [("OK", CheckCounts(equal=1)), ("OK - could not check hash", CheckCounts(1, by_size=1))],
)
def test_equal_file_is_counted(message: str, counted: CheckCounts) -> None:
    log, counts = verifying()
    log.parser.take(line(message, "debug"))
    assert counts == counted
    assert states(log) == {}


@pytest.mark.parametrize(
    ("message", "counted", "side", "text"),
    [
        ("file not in S3 root 'a'", CheckCounts(missing=1), Side.DESTINATION, "missing"),
        ("sizes differ", CheckCounts(differing=1), None, "(sizes)"),
        ("md5 differ", CheckCounts(differing=1), None, "(md5)"),
        ("contents differ", CheckCounts(differing=1), None, "(content)"),
    ],
)
def test_mismatch_makes_copied_file_fail(
    message: str, counted: CheckCounts, side: Side | None, text: str
) -> None:
    log, counts = verifying()
    log.parser.take(line(message))
    assert counts == counted
    (outcome,) = log.outcomes.drain()
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.side) == ("checksum_mismatch", side)
    assert text in outcome.error.message
    assert log.outcomes.totals.failed == 1


def test_stopped_verification_still_counts_comparisons() -> None:
    log, counts = verifying()
    log.parser.begin_stopping()
    log.parser.take(line("sizes differ"))
    log.parser.take(CUT_OFF.encode())
    assert counts == CheckCounts(differing=1)
    assert states(log) == {"one": "failed"}


def test_next_attempt_reads_lines_of_copy_again() -> None:
    log, counts = verifying()
    log.parser.begin_attempt()
    log.parser.take(line("OK", "debug"))
    assert counts == CheckCounts()
