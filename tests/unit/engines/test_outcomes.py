"""FileOutcomes counts each file once over all attempts, and loses none."""

from __future__ import annotations

import pytest

from efss_transfer.engines.outcomes import MOST_HELD_BACK, FileOutcomes
from efss_transfer.model.result import (
    MAX_SAMPLES,
    Failure,
    FileOutcome,
    FileState,
    Reason,
    Sample,
    Side,
    Totals,
)
from efss_transfer.model.warnings import WARNINGS

BUSY = Failure("storage_busy", "later", retryable=True, side=Side.SOURCE)
DENIED = Failure("permission_denied", "no", retryable=False, side=Side.SOURCE)
DIFFERS = Failure("checksum_mismatch", "other", retryable=False)


def copied(path: str) -> FileOutcome:
    return FileOutcome(path, FileState.TRANSFERRED, 5)


def skipped(path: str, reason: Reason = Reason.SAME) -> FileOutcome:
    return FileOutcome(path, FileState.SKIPPED, reason=reason)


def failed(path: str, failure: Failure = BUSY) -> FileOutcome:
    return FileOutcome(path, FileState.FAILED, error=failure)


def drained(outcomes: FileOutcomes) -> list[tuple[str, str]]:
    return [(outcome.path, outcome.state.value) for outcome in outcomes.drain()]


def test_retryable_failure_is_held_back_until_last_attempt() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    for outcome in (copied("a"), failed("b"), failed("c", DENIED), failed("d")):
        outcomes.add(outcome)
    assert drained(outcomes) == [("a", "transferred"), ("c", "failed")]
    assert outcomes.files_to_retry == ("b", "d")
    assert outcomes.held_back_failures == (BUSY, BUSY)

    outcomes.begin_attempt(last=True, expected=("b", "d"))
    outcomes.add(copied("b"))
    assert outcomes.unreported == {"d"}
    outcomes.add(failed("d"))
    assert drained(outcomes) == [("b", "transferred"), ("d", "failed")]
    assert outcomes.totals == Totals(2, 0, 2, 10)
    assert sorted((group.code, group.count) for group in outcomes.errors) == [
        ("permission_denied", 1),
        ("storage_busy", 1),
    ]


def test_file_of_earlier_attempt_is_not_reported_again() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    outcomes.add(copied("a"))
    outcomes.add(failed("b"))
    list(outcomes.drain())
    outcomes.begin_attempt(last=True)
    for outcome in (skipped("a"), copied("b"), copied("new")):
        outcomes.add(outcome)
    assert drained(outcomes) == [("b", "transferred"), ("new", "transferred")]
    assert outcomes.totals == Totals(3, 0, 0, 15)


def test_file_that_fails_in_later_attempt_has_failed() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    outcomes.add(copied("a"))
    outcomes.add(skipped("b"))
    outcomes.begin_attempt(last=True)
    outcomes.add(failed("a"))
    outcomes.add(failed("b"))
    assert drained(outcomes)[-2:] == [("a", "failed"), ("b", "failed")]
    totals = outcomes.totals
    assert (totals.transferred, totals.skipped, totals.failed) == (0, 0, 2)
    assert totals.reasons == {}


def test_file_missing_in_later_attempt_is_reported_as_failed_at_close() -> None:
    """It may have been deleted meanwhile, which is no success."""
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    outcomes.add(failed("gone"))
    outcomes.begin_attempt(last=True)
    outcomes.close()
    assert drained(outcomes) == [("gone", "failed")]
    assert outcomes.errors[0].count == 1


def test_error_of_folder_makes_next_attempt_look_at_all_files() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    outcomes.add(failed("a"))
    outcomes.add_error(BUSY, "folder")
    assert outcomes.files_to_retry is None
    assert not outcomes.errors
    outcomes.begin_attempt(last=True)
    outcomes.add_error(BUSY, "folder")
    outcomes.close()
    assert [(group.count, group.samples[0].path) for group in outcomes.errors] == [(2, "folder")]


def test_outage_is_eight_failures_in_a_row() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    for number in range(7):
        outcomes.add(failed(f"{number}"))
    outcomes.add(copied("one"))
    outcomes.add(failed("7"))
    assert not outcomes.is_outage()
    for number in range(8, 15):
        outcomes.add(failed(f"{number}"))
    assert outcomes.is_outage()
    outcomes.begin_attempt(last=True)
    for number in range(20):
        outcomes.add(failed(f"{number}"))
    assert not outcomes.is_outage()  # No attempt follows the last one, so it tries every file.


def test_attempt_ends_when_too_many_failures_are_held_back() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    mismatch = Failure("checksum_mismatch", "it changed", retryable=True)
    for number in range(MOST_HELD_BACK):
        assert not outcomes.is_outage()
        outcomes.add(failed(f"{number}", mismatch))
    assert outcomes.is_outage()
    assert outcomes.files_to_retry is None


@pytest.mark.parametrize(
    ("before", "counts", "totals"),
    [
        (copied("f"), True, (0, 0, 1)),
        (skipped("f"), True, (0, 0, 1)),
        (skipped("f", Reason.OLDER), False, (0, 1, 0)),
        (skipped("f", Reason.EXISTS), False, (0, 1, 0)),
        (failed("f", DENIED), False, (0, 0, 1)),
        (None, True, (0, 0, 1)),
    ],
)
def test_mismatch_counts_unless_file_failed_or_was_skipped_on_purpose(
    before: FileOutcome | None, counts: bool, totals: tuple[int, int, int]
) -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=True)
    if before is not None:
        outcomes.add(before)
    outcomes.begin_attempt(last=True)
    list(outcomes.drain())
    assert outcomes.add_mismatch("f", DIFFERS) is counts
    assert drained(outcomes) == ([("f", "failed")] if counts else [])
    now = outcomes.totals
    assert (now.transferred, now.skipped, now.failed) == totals


def test_hundred_thousand_paths_are_distinguished() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    for number in range(100_000):
        outcomes.add(copied(f"folder/{number}"))
        next(outcomes.drain())
    outcomes.begin_attempt(last=True)
    for number in range(100_000, 100_100):
        outcomes.add(copied(f"folder/{number}"))
    for number in range(0, 100_000, 1000):
        outcomes.add(skipped(f"folder/{number}"))
    assert len(drained(outcomes)) == 100
    assert outcomes.totals.transferred == 100_100


def test_warnings_are_counted_by_code_with_five_samples() -> None:
    outcomes = FileOutcomes()
    assert not outcomes.warnings
    outcomes.warn("partial_left", "", "403 Forbidden")
    for number in range(7):
        outcomes.warn("time_not_kept", f"f{number}", "before 1970")
    outcomes.warn("time_not_kept", "f7", "before 1970", 3)
    outcomes.close()
    most, least = outcomes.warnings
    assert (most.code, most.count, most.message) == ("time_not_kept", 10, WARNINGS["time_not_kept"])
    assert most.samples == tuple(Sample(f"f{n}", "before 1970") for n in range(MAX_SAMPLES))
    assert (least.code, least.count) == ("partial_left", 1)
    assert least.to_json()["samples"] == [{"message": "403 Forbidden"}]
    # They are no failures.
    assert (outcomes.errors, outcomes.totals) == ((), Totals())


def test_unfinished_files_fail_unless_they_have_an_outcome() -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=False)
    outcomes.add(copied("a"))
    assert outcomes.add_unfinished([failed("a"), failed("b")])
    assert drained(outcomes) == [("a", "transferred")]
    assert outcomes.files_to_retry == ("b",)
    outcomes.begin_attempt(last=True)
    assert outcomes.is_last_attempt
    outcomes.add(copied("b"))
    assert outcomes.add_unfinished([failed("b"), failed("c")])
    outcomes.add(failed("c"))
    outcomes.close()
    assert drained(outcomes) == [("b", "transferred"), ("c", "failed")]
    assert outcomes.totals == Totals(2, 0, 1, 10)


def test_no_unfinished_file_is_no_failure() -> None:
    assert not FileOutcomes().add_unfinished([])
