"""Results of shards, as one: exact, and nothing lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from efss_transfer.client.merge import gathered, merged, short, unanswered
from efss_transfer.client.progress import of_shards
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.events import InFlight, Phase, Progress
from efss_transfer.model.result import (
    ErrorGroup,
    FileOutcome,
    FileState,
    Reason,
    Result,
    Sample,
    Shard,
    Side,
    State,
    Totals,
    WarningGroup,
)
from efss_transfer.model.verification import Verification, VerifyMode
from efss_transfer.model.warnings import WARNINGS
from support.contract import complaints

BEGAN = datetime(2026, 11, 22, 16, tzinfo=UTC)
OK, PARTIAL, INCOMPLETE, FAILED, CANCELLED = (
    State.SUCCEEDED,
    State.PARTIAL,
    State.INCOMPLETE,
    State.FAILED,
    State.CANCELLED,
)


def of(state: State = OK, index: int | None = None, count: int = 3, **members: object) -> Result:
    shard = None if index is None else Shard(index, count)
    code = None if state is OK else "storage_error" if state is FAILED else state.value
    given = Result(state, "rclone", Totals(), BEGAN, BEGAN, code, shard=shard)
    return replace(given, **members)  # type: ignore[arg-type]


def errors(code: str, count: int, *paths: str, side: Side | None = None) -> tuple[ErrorGroup, ...]:
    return (
        ErrorGroup(
            code, side, code == "storage_busy", count, tuple(Sample(path, "no") for path in paths)
        ),
    )


def warnings(code: str, count: int, *paths: str) -> tuple[WarningGroup, ...]:
    samples = tuple(Sample(path, "so") for path in paths)
    return (WarningGroup(code, WARNINGS[code], count, samples),)


def test_counts_are_added_up() -> None:
    first = Totals(3, 2, 1, 30, {Reason.SAME: 1, Reason.OLDER: 1})
    second = Totals(4, 5, 0, 44, {Reason.SAME: 1, Reason.DRY_RUN: 4}, 400)
    told = merged(
        [
            of(PARTIAL, totals=first, attempts=2, finished=BEGAN + timedelta(seconds=9), id="x"),
            of(totals=second, attempts=3, started=BEGAN - timedelta(seconds=1), files_omitted=4),
        ]
    )
    assert told.totals.to_json() == {
        "files": {"transferred": 7, "skipped": 7, "failed": 1},
        "bytes": {"transferred": 74, "dry_run": 400},
        "skipped": {"same": 2, "older": 1, "dry_run": 4},
    }
    assert (told.attempts, told.id, told.shard, told.files_omitted) == (3, "x", None, 4)
    assert (told.finished - told.started).total_seconds() == 10


@pytest.mark.parametrize(
    ("states", "expected", "code"),
    [
        ((OK, OK), OK, None),
        ((OK, FAILED), PARTIAL, "partial"),
        ((OK, PARTIAL), PARTIAL, "partial"),
        ((FAILED, FAILED), FAILED, "storage_error"),
        ((PARTIAL, FAILED), PARTIAL, "partial"),
        ((OK, INCOMPLETE), INCOMPLETE, "incomplete"),
        ((INCOMPLETE, INCOMPLETE), INCOMPLETE, "incomplete"),
        ((INCOMPLETE, FAILED), PARTIAL, "partial"),
        ((OK, CANCELLED, FAILED), CANCELLED, "cancelled"),
    ],
)
def test_how_it_ended(states: tuple[State, ...], expected: State, code: str | None) -> None:
    told = merged([of(state) for state in states])
    assert (told.state, told.code) == (expected, code)
    # Who only asks whether to send it again must be told so where the time ran out for a part.
    assert told.retryable or not {INCOMPLETE, CANCELLED} & set(states)
    assert complaints("result", told.to_json()) == []


def test_all_failed_and_not_by_the_same() -> None:
    told = merged(
        [
            of(FAILED, code="permission_denied", errors=errors("permission_denied", 1, "a")),
            of(FAILED, code="storage_error", errors=errors("storage_error", 9, "b")),
        ]
    )
    assert (told.state, told.code) == (FAILED, "storage_error")
    with pytest.raises(ValueError):
        merged([])


def test_errors_are_by_code_and_side_with_samples_of_every_shard() -> None:
    at = Side.SOURCE
    told = merged(
        [
            of(PARTIAL, errors=errors("storage_error", 7, "a", "b", "c", "d", "e", side=at)),
            of(PARTIAL, errors=errors("storage_error", 2, "f", side=at)),
            of(PARTIAL, errors=errors("storage_error", 1, "g") + errors("storage_busy", 8, "h")),
        ]
    )
    assert [(it.code, it.side, it.count) for it in told.errors] == [
        ("storage_error", at, 9),
        ("storage_busy", None, 8),
        ("storage_error", None, 1),
    ]
    assert [it.path for it in told.errors[0].samples] == ["a", "f", "b", "c", "d"]
    assert [it.retryable for it in told.errors] == [False, True, False]


def test_warnings_are_by_code_over_all_shards_and_invocations() -> None:
    first = of(warnings=warnings("partial_left", 1, "a"), index=0)
    resumed = of(
        warnings=warnings("partial_left", 2, "b", "c"),
        index=0,
        started=BEGAN + timedelta(seconds=9),
    )
    other = of(warnings=warnings("time_not_kept", 9, *"defghi"[:5]), index=1)
    told = gathered([first, resumed, other, of(index=2)])
    assert [(it.code, it.count, it.message) for it in told.warnings] == [
        ("time_not_kept", 9, WARNINGS["time_not_kept"]),
        ("partial_left", 3, WARNINGS["partial_left"]),
    ]
    assert [it.path for it in told.warnings[1].samples] == ["a", "b", "c"]
    # They change no state.
    assert (told.state, told.code, told.errors) == (OK, None, ())
    assert "warnings" not in merged([of(), of()]).to_json()


def test_a_warning_of_a_shortened_result_gets_its_message_again() -> None:
    given = of(warnings=warnings("time_not_kept", 9, "a" * 900))
    told = short(given, 500)
    assert len(encode_json(told.to_json())) <= 500
    assert complaints("result", told.to_json()) == []
    (warning,) = merged([told]).warnings
    assert (warning.count, warning.message) == (9, WARNINGS["time_not_kept"])


def test_verification_is_summed_and_is_what_holds_for_all() -> None:
    by_hash = Verification(VerifyMode.CHECKSUM, 5, 1, 2, "md5", 1)
    told = merged([of(verification=by_hash), of(), of(verification=replace(by_hash, checked=4))])
    assert told.verification == Verification(VerifyMode.CHECKSUM, 9, 2, 4, "md5", 2)
    by_size = Verification(VerifyMode.SIZE, 3)
    told = merged([of(verification=by_hash), of(verification=by_size)])
    assert told.verification is not None
    assert (told.verification.mode, told.verification.hash) == (VerifyMode.SIZE, None)
    # A shard for which there is no file has not weakened anything.
    told = merged([of(verification=by_hash), of(verification=replace(by_size, checked=0))])
    assert told.verification is not None
    assert (told.verification.mode, told.verification.hash) == (VerifyMode.CHECKSUM, "md5")
    assert merged([of(), of()]).verification is None


def test_files_are_those_of_all() -> None:
    file = FileOutcome("a", FileState.TRANSFERRED, 1)
    told = merged([of(files=(file,)), of(files=(replace(file, path="b"),))])
    assert told.files is not None
    assert [it.path for it in told.files] == ["a", "b"]
    assert merged([of(files=(file,)), of()]).files is None


def test_results_of_one_shard_follow_one_another_in_any_order() -> None:
    later = BEGAN + timedelta(seconds=5)
    told = gathered(
        [
            of(index=0, started=later, totals=Totals(2, 3, 0, 20, {Reason.SAME: 3})),
            of(INCOMPLETE, 0, totals=Totals(3, 0, 0, 30)),
            of(index=1, totals=Totals(1, 0, 0, 10)),
            of(index=2),
        ]
    )
    assert told.state is OK
    assert told.totals.to_json() == Totals(6, 0, 0, 60).to_json()
    assert told.attempts == 2


def test_a_shard_that_told_nothing_is_seen() -> None:
    told = gathered([of(index=0, totals=Totals(1)), of(index=2, totals=Totals(1))])
    assert (told.state, told.code, told.retryable) == (PARTIAL, "partial", True)
    [group] = told.errors
    assert (group.code, group.count) == ("engine_failed", 1)
    assert "1 of 3 shards" in group.samples[0].message
    assert told.totals.transferred == 2


def test_results_of_different_transfers_are_refused() -> None:
    for other in (of(), of(index=0, count=4)):
        with pytest.raises(ValueError, match="different transfers"):
            gathered([of(index=0), other])
    with pytest.raises(ValueError):
        gathered([])


def test_a_shard_that_broke_off_keeps_what_it_brought() -> None:
    before = of(INCOMPLETE, 1, totals=Totals(4, 0, 0, 40))
    told = unanswered("rclone", "It died.", shard=Shard(1, 3), before=before)
    assert (told.state, told.totals.transferred, told.started) == (PARTIAL, 4, BEGAN)
    assert unanswered("rclone", "It died.").state is FAILED


@pytest.mark.parametrize("most", [400, 500, 1000, 4000])
def test_a_result_is_told_short(most: int) -> None:
    long = tuple(
        group
        for code in ("storage_error", "storage_busy", "permission_denied")
        for side in Side
        for group in errors(code, 5, *(f"{'ü' * 300}{number}" for number in range(5)), side=side)
    )
    file = FileOutcome("a" * 900, FileState.FAILED)
    known = tuple(
        group
        for code in WARNINGS
        for group in warnings(code, 5, *(f"{'ü' * 300}{number}" for number in range(5)))
    )
    given = of(PARTIAL, totals=Totals(1, 2, 3, 4), errors=long, warnings=known, files=(file,))
    told = short(given, most)
    assert len(encode_json(told.to_json())) <= most
    assert told.totals == given.totals
    assert complaints("result", told.to_json()) == []
    # Which errors there were stays longest of all.
    assert len(told.errors) == 6 or most < 1000
    assert short(of(), most).to_json() == of().to_json()


def test_progress_of_all_is_that_of_each_together() -> None:
    one = Progress(Totals(1, 2, 3), 10, 5, 50, 2.0, 4.0, in_flight=(InFlight("a", 1, 2),))
    other = Progress(Totals(4, 0, 0), 1, 6, 60, 3.0, 9.0, Phase.WAITING, 2)
    told = of_shards([one, other])
    assert told.totals.to_json()["files"] == {"transferred": 5, "skipped": 2, "failed": 3}
    assert (told.current_bytes, told.expected_files, told.expected_bytes) == (11, 11, 110)
    assert (told.speed, told.eta_seconds, told.attempt) == (5.0, 9.0, 2)
    assert (told.phase, len(told.in_flight)) == (Phase.COPYING, 1)
    assert of_shards([other]).phase is Phase.WAITING
