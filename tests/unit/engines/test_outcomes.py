"""What is counted over attempts: each file once, and none forgotten."""

from __future__ import annotations

import pytest

from efss_transfer.engines.outcomes import MOST_HELD_BACK, FileOutcomes
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side, Totals

BUSY = Failure("storage_busy", "later", retryable=True, side=Side.SOURCE)
DENIED = Failure("permission_denied", "no", retryable=False, side=Side.SOURCE)
DIFFERS = Failure("checksum_mismatch", "other", retryable=False)


def copied(path: str) -> FileOutcome:
    return FileOutcome(path, FileState.TRANSFERRED, 5)


def skipped(path: str, reason: Reason = Reason.SAME) -> FileOutcome:
    return FileOutcome(path, FileState.SKIPPED, reason=reason)


def failed(path: str, failure: Failure = BUSY) -> FileOutcome:
    return FileOutcome(path, FileState.FAILED, error=failure)


def told(ledger: FileOutcomes) -> list[tuple[str, str]]:
    return [(outcome.path, outcome.state.value) for outcome in ledger.outcomes()]


def test_what_another_attempt_may_do_is_held_back_until_it_has() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    for outcome in (copied("a"), failed("b"), failed("c", DENIED), failed("d")):
        ledger.tell(outcome)
    assert told(ledger) == [("a", "transferred"), ("c", "failed")]
    assert ledger.again == ("b", "d")
    assert ledger.held_back == (BUSY, BUSY)

    ledger.begin(last=True, awaited=("b", "d"))
    ledger.tell(copied("b"))
    assert ledger.unaccounted == {"d"}
    ledger.tell(failed("d"))
    assert told(ledger) == [("b", "transferred"), ("d", "failed")]
    assert ledger.totals == Totals(2, 0, 2, 10)
    assert sorted((group.code, group.count) for group in ledger.errors) == [
        ("permission_denied", 1),
        ("storage_busy", 1),
    ]


def test_what_was_told_is_not_told_again() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    ledger.tell(copied("a"))
    ledger.tell(failed("b"))
    list(ledger.outcomes())
    ledger.begin(last=True)
    for outcome in (skipped("a"), copied("b"), copied("new")):
        ledger.tell(outcome)
    assert told(ledger) == [("b", "transferred"), ("new", "transferred")]
    assert ledger.totals == Totals(3, 0, 0, 15)


def test_a_file_that_fails_after_it_was_there_has_failed() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    ledger.tell(copied("a"))
    ledger.tell(skipped("b"))
    ledger.begin(last=True)
    ledger.tell(failed("a"))
    ledger.tell(failed("b"))
    assert told(ledger)[-2:] == [("a", "failed"), ("b", "failed")]
    totals = ledger.totals
    assert (totals.transferred, totals.skipped, totals.failed) == (0, 0, 2)
    assert totals.reasons == {}


def test_what_is_not_met_again_is_told_at_the_end() -> None:
    """It may have vanished meanwhile: that is no success."""
    ledger = FileOutcomes()
    ledger.begin(last=False)
    ledger.tell(failed("gone"))
    ledger.begin(last=True)
    ledger.close()
    assert told(ledger) == [("gone", "failed")]
    assert ledger.errors[0].count == 1


def test_trouble_with_a_folder_wants_all_looked_at_again() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    ledger.tell(failed("a"))
    ledger.trouble(BUSY, "folder")
    assert ledger.again is None
    assert not ledger.errors
    ledger.begin(last=True)
    ledger.trouble(BUSY, "folder")
    ledger.close()
    assert [(group.count, group.samples[0].path) for group in ledger.errors] == [(2, "folder")]


def test_an_outage_is_many_failures_without_a_success_between() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    for number in range(7):
        ledger.tell(failed(f"{number}"))
    ledger.tell(copied("one"))
    ledger.tell(failed("7"))
    assert not ledger.is_outage()
    for number in range(8, 15):
        ledger.tell(failed(f"{number}"))
    assert ledger.is_outage()
    ledger.begin(last=True)
    for number in range(20):
        ledger.tell(failed(f"{number}"))
    assert not ledger.is_outage()  # nothing is tried after the last, so every file is


def test_only_so_many_are_held_back() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    mismatch = Failure("checksum_mismatch", "it changed", retryable=True)
    for number in range(MOST_HELD_BACK):
        assert not ledger.is_outage()
        ledger.tell(failed(f"{number}", mismatch))
    assert ledger.is_outage()
    assert ledger.again is None


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
def test_a_difference_counts_where_there_should_be_none(
    before: FileOutcome | None, counts: bool, totals: tuple[int, int, int]
) -> None:
    ledger = FileOutcomes()
    ledger.begin(last=True)
    if before is not None:
        ledger.tell(before)
    ledger.begin(last=True)
    list(ledger.outcomes())
    assert ledger.differs("f", DIFFERS) is counts
    assert told(ledger) == ([("f", "failed")] if counts else [])
    now = ledger.totals
    assert (now.transferred, now.skipped, now.failed) == totals


def test_a_hundred_thousand_paths_are_told_apart() -> None:
    ledger = FileOutcomes()
    ledger.begin(last=False)
    for number in range(100_000):
        ledger.tell(copied(f"folder/{number}"))
        next(ledger.outcomes())
    ledger.begin(last=True)
    for number in range(100_000, 100_100):
        ledger.tell(copied(f"folder/{number}"))
    for number in range(0, 100_000, 1000):
        ledger.tell(skipped(f"folder/{number}"))
    assert len(told(ledger)) == 100
    assert ledger.totals.transferred == 100_100
