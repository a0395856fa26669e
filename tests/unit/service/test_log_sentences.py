"""The log says how a transfer ended: in words, and as members that a program can filter by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from efss_transfer.model.result import ErrorGroup, Result, Side, State, Totals
from efss_transfer.service import log_sentences

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COUNTS = "files: 3 transferred, 2 skipped, 1 failed; 1000 bytes transferred"


def ended(state: State, code: str | None, *groups: tuple[str, Side | None, int]) -> Result:
    errors = tuple(ErrorGroup(name, side, False, count, ()) for name, side, count in groups)
    return Result(state, "rclone", Totals(3, 2, 1, 1000), NOW, NOW, code, errors)


SOURCE, DESTINATION = Side.SOURCE, Side.DESTINATION
ALL = [("storage_error", None, n) for n in range(2, 9)]


@pytest.mark.parametrize(
    ("result", "sentence", "side"),
    [
        (ended(State.SUCCEEDED, None), "succeeded", None),
        (ended(State.CANCELLED, "cancelled"), "cancelled: cancelled", None),
        (
            ended(State.FAILED, "source_not_found", ("source_not_found", SOURCE, 1)),
            "failed: source_not_found (source)",
            "source",
        ),
        (
            ended(
                State.PARTIAL,
                "partial",
                ("storage_busy", SOURCE, 1),
                ("permission_denied", DESTINATION, 12),
            ),
            "partial: 12 permission_denied (destination), storage_busy (source)",
            None,
        ),
        (
            ended(State.PARTIAL, "partial", ("permission_denied", DESTINATION, 2)),
            "partial: 2 permission_denied (destination)",
            "destination",
        ),
        (
            ended(
                State.FAILED, "quota_exceeded", ("x", SOURCE, 9), ("quota_exceeded", DESTINATION, 1)
            ),
            "failed: 9 x (source), quota_exceeded (destination)",
            "destination",
        ),
        (
            ended(State.PARTIAL, "partial", *ALL),
            "partial: " + ", ".join(f"{n} storage_error" for n in (8, 7, 6, 5, 4)) + " and 2 more",
            None,
        ),
    ],
)
def test_end_of_a_transfer_has_its_codes_and_its_side(
    result: Result, sentence: str, side: str | None
) -> None:
    assert log_sentences.sentence(result) == f"{sentence}; {COUNTS}"
    members = log_sentences.members_of(result)
    assert members["side"] == side
    assert members["files_failed"] == 1
    assert members["bytes_transferred"] == 1000
    assert len(members["errors"] or []) == min(len(result.errors), 5)
