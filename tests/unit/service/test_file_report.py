"""What a JSON answer leaves out when it would be too long, and that it says so."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efss_transfer.contract import problems
from efss_transfer.model.errors import CODES
from efss_transfer.model.request import Report
from efss_transfer.model.result import (
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Json,
    Result,
    Sample,
    Side,
    State,
    Totals,
    encoded,
)
from efss_transfer.service.file_report import Listing, fitted
from support.contract import complaints

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REFUSED = Failure("permission_denied", "403 Forbidden", False, Side.DESTINATION)
GROUPED = ["permission_denied", "storage_busy", "storage_error", "name_refused", "internal"]
# Whatever a storage lets somebody call a file: signs that JSON writes as six bytes, too.
NAMES = st.text(
    st.one_of(st.characters(), st.sampled_from('\0\x01"\\\n\u2028🎉\ud800')), max_size=60
)


def skipped(path: str) -> FileOutcome:
    return FileOutcome(path, FileState.SKIPPED)


def failed(path: str) -> FileOutcome:
    return FileOutcome(path, FileState.FAILED, error=REFUSED)


def counted(outcomes: Iterable[FileOutcome], errors: tuple[ErrorGroup, ...] = ()) -> Result:
    """A result that counts these, each path as it was told last."""
    last = {outcome.path: outcome for outcome in outcomes}
    states = [outcome.state for outcome in last.values()]
    transferred, skipped, failed = (states.count(state) for state in FileState)
    totals = Totals(transferred, skipped, failed)
    state, code = (State.PARTIAL, "partial") if errors else (State.SUCCEEDED, None)
    return Result(state, "rclone", totals, NOW, NOW, code=code, errors=errors)


def listed(outcomes: Iterable[FileOutcome], report: Report, most: int) -> Result:
    outcomes = list(outcomes)
    listing = Listing(report, most)
    for outcome in outcomes:
        listing.take(outcome)
    return listing.of(counted(outcomes))


def paths(result: Result) -> list[str]:
    return [outcome.path for outcome in result.files or ()]


@pytest.mark.parametrize(
    ("report", "expected"), [("all", ["a", "b", "c"]), ("errors", ["b"]), ("summary", [])]
)
def test_a_report_names_what_it_is_asked_for(report: Report, expected: list[str]) -> None:
    told = listed([skipped("a"), failed("b"), skipped("c")], report, 1000)
    assert paths(told) == expected
    assert (told.files is None) is (report == "summary")
    assert "files_omitted" not in told.to_json()


def test_a_file_that_is_told_twice_is_listed_as_it_was_told_last() -> None:
    twice = [skipped("a"), failed("b"), skipped("b"), failed("a")]
    for report, expected in (("all", ["b", "a"]), ("errors", ["a"])):
        assert paths(listed(twice, report, 1000)) == expected  # type: ignore[arg-type]


def test_what_there_is_no_room_for_is_counted_and_failed_files_go_first() -> None:
    outcomes = [skipped(f"{number:04}") for number in range(1000)]
    outcomes[500:500] = [failed("failed-1"), failed("failed-2")]

    told = listed(outcomes, "all", 1000)

    assert paths(told)[-2:] == ["failed-1", "failed-2"]
    assert len(encoded([outcome.to_json() for outcome in told.files or ()])) <= 1000
    assert told.files_omitted == 1002 - len(paths(told)) > 900
    only = listed([failed(f"{number:04}") for number in range(1000)], "errors", 1000)
    assert paths(only) == [f"{number:04}" for number in range(len(paths(only)))]
    assert only.files_omitted == 1000 - len(paths(only))


def test_of_samples_there_are_fewer_where_they_take_the_room_of_all_else() -> None:
    samples = tuple(Sample("p" * 3000, f"{number}") for number in range(5))
    errors = tuple(ErrorGroup(code, None, False, 7, samples) for code in GROUPED)
    result = counted([failed("a")], errors)
    shown = fitted(result, 65_536, lambda told: told.to_json())
    assert {len(group.samples) for group in shown.errors} == {2}
    assert [group.count for group in shown.errors] == [7] * len(GROUPED)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.builds(FileOutcome, NAMES, st.sampled_from(FileState)), max_size=200),
    st.lists(
        st.builds(
            ErrorGroup,
            st.sampled_from(GROUPED),
            st.sampled_from([None, *Side]),
            st.booleans(),
            st.integers(1, 10**9),
            st.lists(st.builds(Sample, NAMES, NAMES), max_size=5).map(tuple),
        ),
        max_size=8,
    ).map(tuple),
    st.sampled_from(["all", "errors", "summary"]),
    st.integers(4_000, 30_000),
)
def test_an_answer_is_never_longer_than_it_may_be_and_counts_are_exact(
    outcomes: list[FileOutcome], errors: tuple[ErrorGroup, ...], report: Report, most: int
) -> None:
    def document(told: Result) -> Json:
        if told.code is None:
            return told.to_json()
        return problems.of_result(told.code, told).document

    listing = Listing(report, most)
    for outcome in outcomes:
        listing.take(outcome)
    result = counted(outcomes, errors)

    shown = fitted(listing.of(result), most, document)

    assert len(encoded(document(shown))) <= most
    assert complaints("result", shown.to_json()) == []
    assert shown.totals == result.totals
    assert [(g.code, g.count) for g in shown.errors] == [(g.code, g.count) for g in errors]
    last = {outcome.path: outcome for outcome in outcomes}
    asked = [
        outcome
        for outcome in last.values()
        if report == "all" or (report == "errors" and outcome.state is FileState.FAILED)
    ]
    names = paths(shown)
    assert len(names) == len(set(names))
    assert all(last[outcome.path] == outcome for outcome in shown.files or ())
    assert len(names) + shown.files_omitted == len(asked)
    others = [outcome for outcome in shown.files or () if outcome.state is not FileState.FAILED]
    if others:  # then no failed file had to go
        assert shown.totals.failed == len(names) - len(others)


def test_the_least_that_may_be_set_has_room_for_all_that_is_never_left_out() -> None:
    """Every group that there can be, and the longest texts that are told of any."""
    long = "🎉" * 500
    errors = tuple(
        ErrorGroup(code, side, retryable, 10**9, (Sample("p" * 4096, long),) * 5)
        for code in CODES
        for side in (None, *Side)
        for retryable in (True, False)
    )
    result = Result(
        State.PARTIAL,
        "rclone",
        Totals(10**9, 10**9, 10**9, 10**15),
        NOW,
        NOW,
        code="partial",
        errors=errors,
        files=(failed("a"),),
        id="🎉" * 128,
        engine_report={"job": {"error": long}, "stats": {"lastError": long}},
    )
    shown = fitted(result, 65_536, lambda told: problems.of_result("partial", told).document)
    assert len(encoded(problems.of_result("partial", shown).document)) <= 65_536
    assert paths(shown) == ["a"]
