"""A JSON response that would be too long leaves files out, and counts them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efss_transfer.contract import problems
from efss_transfer.model.encoding import encode_json
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
    WarningGroup,
)
from efss_transfer.model.warnings import WARNINGS
from efss_transfer.service.file_report import FileReport, fit
from support.contract import complaints

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REFUSED = Failure("permission_denied", "403 Forbidden", False, Side.DESTINATION)
GROUPED = ["permission_denied", "storage_busy", "storage_error", "name_refused", "internal"]
# File names that a storage may allow, including characters that JSON writes as six bytes.
NAMES = st.text(
    st.one_of(st.characters(), st.sampled_from('\0\x01"\\\n\u2028🎉\ud800')), max_size=60
)


def skipped(path: str) -> FileOutcome:
    return FileOutcome(path, FileState.SKIPPED)


def failed(path: str) -> FileOutcome:
    return FileOutcome(path, FileState.FAILED, error=REFUSED)


def counted(outcomes: Iterable[FileOutcome], errors: tuple[ErrorGroup, ...] = ()) -> Result:
    """A result that counts the last outcome of each path."""
    last = {outcome.path: outcome for outcome in outcomes}
    states = [outcome.state for outcome in last.values()]
    transferred, skipped, failed = (states.count(state) for state in FileState)
    totals = Totals(transferred, skipped, failed)
    state, code = (State.PARTIAL, "partial") if errors else (State.SUCCEEDED, None)
    return Result(state, "rclone", totals, NOW, NOW, code=code, errors=errors)


WARNED = tuple(
    WarningGroup(code, text, 10**9, (Sample("p" * 4096, "🎉" * 500),) * 5)
    for code, text in WARNINGS.items()
)


def listed(outcomes: Iterable[FileOutcome], report: Report, most: int) -> Result:
    outcomes = list(outcomes)
    report_of_files = FileReport(report, most)
    for outcome in outcomes:
        report_of_files.add(outcome)
    return report_of_files.apply_to(counted(outcomes))


def paths(result: Result) -> list[str]:
    return [outcome.path for outcome in result.files or ()]


@pytest.mark.parametrize(
    ("report", "expected"), [("all", ["a", "b", "c"]), ("errors", ["b"]), ("summary", [])]
)
def test_report_option_selects_the_files_listed(report: Report, expected: list[str]) -> None:
    result = listed([skipped("a"), failed("b"), skipped("c")], report, 1000)
    assert paths(result) == expected
    assert (result.files is None) is (report == "summary")
    assert "files_omitted" not in result.to_json()


def test_later_outcome_of_a_file_replaces_the_earlier() -> None:
    twice = [skipped("a"), failed("b"), skipped("b"), failed("a")]
    for report, expected in (("all", ["b", "a"]), ("errors", ["a"])):
        assert paths(listed(twice, report, 1000)) == expected  # type: ignore[arg-type]


def test_full_report_keeps_failed_files_and_counts_the_omitted() -> None:
    outcomes = [skipped(f"{number:04}") for number in range(1000)]
    outcomes[500:500] = [failed("failed-1"), failed("failed-2")]

    result = listed(outcomes, "all", 1000)

    assert paths(result)[-2:] == ["failed-1", "failed-2"]
    assert len(encode_json([outcome.to_json() for outcome in result.files or ()])) <= 1000
    assert result.files_omitted == 1002 - len(paths(result)) > 900
    only = listed([failed(f"{number:04}") for number in range(1000)], "errors", 1000)
    assert paths(only) == [f"{number:04}" for number in range(len(paths(only)))]
    assert only.files_omitted == 1000 - len(paths(only))


def test_samples_are_dropped_when_they_fill_half_of_the_space() -> None:
    samples = tuple(Sample("p" * 3000, f"{number}") for number in range(5))
    errors = tuple(ErrorGroup(code, None, False, 7, samples) for code in GROUPED)
    result = counted([failed("a")], errors)
    shown = fit(result, 65_536, Result.to_json)
    assert {len(group.samples) for group in shown.errors} == {2}
    assert [group.count for group in shown.errors] == [7] * len(GROUPED)


def test_warnings_lose_samples_and_keep_their_counts() -> None:
    result = replace(counted([failed("a")]), warnings=WARNED)
    shown = fit(result, 65_536, Result.to_json)
    assert len(encode_json(shown.to_json())) <= 65_536
    assert {len(group.samples) for group in shown.warnings} < {0, 1, 2}
    assert [(it.code, it.count) for it in shown.warnings] == [(it.code, 10**9) for it in WARNED]


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
def test_fitted_result_respects_the_limit_and_keeps_exact_counts(
    outcomes: list[FileOutcome], errors: tuple[ErrorGroup, ...], report: Report, most: int
) -> None:
    def document(it: Result) -> Json:
        if it.code is None:
            return it.to_json()
        return problems.of_result(it.code, it).document

    report_of_files = FileReport(report, most)
    for outcome in outcomes:
        report_of_files.add(outcome)
    result = counted(outcomes, errors)

    shown = fit(report_of_files.apply_to(result), most, document)

    assert len(encode_json(document(shown))) <= most
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
    if others:  # then every failed file is listed
        assert shown.totals.failed == len(names) - len(others)


def test_smallest_limit_has_space_for_everything_never_omitted() -> None:
    """Every possible error group, with the longest texts."""
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
        warnings=WARNED,
        files=(failed("a"),),
        id="🎉" * 128,
        engine_report={"job": {"error": long}, "stats": {"lastError": long}},
    )
    shown = fit(result, 65_536, lambda it: problems.of_result("partial", it).document)
    assert len(encode_json(problems.of_result("partial", shown).document)) <= 65_536
    assert paths(shown) == ["a"]
