"""What became of each file, over several invocations."""

from __future__ import annotations

import pytest

from efss_transfer.client.merge import successive
from efss_transfer.client.outcomes import ReportedFiles
from efss_transfer.model.result import (
    FileOutcome,
    FileState,
    Reason,
    Result,
    State,
    Totals,
    utc_now,
)


def of(totals: Totals) -> Result:
    return Result(State.INCOMPLETE, "rclone", totals, utc_now(), utc_now())


@pytest.mark.parametrize("reason", [Reason.SAME, Reason.EXISTS, Reason.OLDER])
def test_what_was_brought_counts_once_whatever_it_is_skipped_for(reason: Reason) -> None:
    first = of(Totals(3, 0, 1, 30))
    then = of(Totals(2, 3, 0, 20, {reason: 3}))
    merged = successive(first, then).totals
    assert (merged.transferred, merged.skipped, merged.failed) == (5, 0, 0)
    assert merged.to_json() == Totals(5, 0, 0, 50).to_json()


def test_what_was_there_before_all_stays_skipped() -> None:
    first = of(Totals(3, 1, 0, 30, {Reason.OLDER: 1}))
    then = of(Totals(2, 5, 0, 20, {Reason.OLDER: 2, Reason.SAME: 3}))
    merged = successive(first, then).totals
    assert merged.to_json()["skipped"] == {"older": 2}
    assert merged.skipped == 2


def test_one_that_ran_out_of_time_early_does_not_take_back_what_was_seen() -> None:
    first = of(Totals(0, 9, 0, 0, {Reason.SAME: 9}))
    merged = successive(first, of(Totals(0, 1, 0, 0, {Reason.SAME: 1}))).totals
    assert merged.skipped == 9
    assert merged.reasons == {Reason.SAME: 9}


@pytest.mark.parametrize(
    ("report", "paths"), [("summary", None), ("errors", ["b"]), ("all", ["a", "b", "c"])]
)
def test_only_the_files_that_are_asked_for_are_kept(report: str, paths: list[str] | None) -> None:
    files = ReportedFiles(report)
    for path, state in (
        ("a", FileState.FAILED),
        ("b", FileState.FAILED),
        ("c", FileState.TRANSFERRED),
        ("a", FileState.TRANSFERRED),
        ("a", FileState.SKIPPED),
        ("c", FileState.SKIPPED),
    ):
        files.add(FileOutcome(path, state))
    kept = files.added_to(of(Totals())).files
    assert (None if kept is None else [file.path for file in kept]) == paths
    if report == "all":
        assert kept is not None
        assert [file.state.value for file in kept] == ["transferred", "failed", "transferred"]
