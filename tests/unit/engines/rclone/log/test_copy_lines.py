"""The log lines of a copy become outcomes and errors."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from efss_transfer.engines.rclone.log.copy_lines import MISSING_SIZE
from efss_transfer.model.result import (
    ErrorGroup,
    FileOutcome,
    FileState,
    Reason,
    Sample,
    Side,
    Totals,
)
from support.rclone_log import (
    CALL,
    COPIED,
    COPIED_BY_THE_STORAGE,
    COPIED_ODD,
    COPIED_UNSIZED,
    CORRUPTED,
    CORRUPTED_PARTIAL,
    CUT_OFF,
    DENIED,
    NO_FOLDER,
    NO_LISTING,
    NO_LISTING_OF_FOLDER,
    NO_SOURCE,
    NOT_RENAMED,
    REMOVING,
    REPLY,
    SET_TIME,
    SKIPPED,
    UNREADABLE,
    UPLOADED,
    WANTED,
    WITHOUT_OUTCOME,
    log_of,
    parsed,
    states,
)


def test_copied_file_has_its_size() -> None:
    log = parsed(COPIED, COPIED_ODD)
    assert list(log.outcomes.drain()) == [
        FileOutcome("one", FileState.TRANSFERRED, 4),
        FileOutcome('deep/émoji 🎉 "q".txt', FileState.TRANSFERRED, 6),
    ]
    assert log.outcomes.totals == Totals(transferred=2, transferred_bytes=10)
    assert log.outcomes.errors == ()


def test_server_side_copy_is_reported_under_source_path() -> None:
    log = parsed(COPIED_BY_THE_STORAGE)
    assert list(log.outcomes.drain()) == [FileOutcome("one", FileState.TRANSFERRED, 9)]


def test_copied_file_of_unknown_size_adds_no_bytes() -> None:
    log = parsed(COPIED_UNSIZED)
    assert list(log.outcomes.drain()) == [FileOutcome("f.bin", FileState.TRANSFERRED)]
    assert log.outcomes.totals == Totals(transferred=1)


def test_unchanged_file_is_skipped() -> None:
    log = parsed(SKIPPED)
    assert list(log.outcomes.drain()) == [
        FileOutcome("same", FileState.SKIPPED, reason=Reason.SAME)
    ]
    assert log.outcomes.totals == Totals(skipped=1, reasons={Reason.SAME: 1})


def test_refused_file_has_code_and_side() -> None:
    log = parsed(DENIED)
    [outcome] = log.outcomes.drain()
    assert (outcome.path, outcome.state) == ("denied", FileState.FAILED)
    assert outcome.error is not None
    # The text names no side, so the error occurred while the destination was written.
    assert (outcome.error.code, outcome.error.side) == ("permission_denied", Side.DESTINATION)
    assert log.outcomes.totals == Totals(failed=1)


def test_unreadable_file_is_failure_of_source() -> None:
    [outcome] = parsed(UNREADABLE).outcomes.drain()
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.side) == ("permission_denied", Side.SOURCE)


@pytest.mark.parametrize("line", [CORRUPTED, CORRUPTED_PARTIAL], ids=["in place", "partial"])
def test_corrupted_file_has_failed_under_its_own_name(line: str) -> None:
    log = parsed(line)
    [outcome] = log.outcomes.drain()
    assert (outcome.path, outcome.state) == ("wrong-size", FileState.FAILED)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == ("checksum_mismatch", True)


def test_file_that_cannot_be_renamed_has_failed_under_its_own_name() -> None:
    log = parsed(NOT_RENAMED)
    assert states(log) == {"x": "failed"}
    assert log.outcomes.totals == Totals(failed=1)


def test_file_really_named_partial_keeps_its_name() -> None:
    line = DENIED.replace('"denied"', '"x.42d1e3b1.partial"')
    assert states(parsed(line)) == {"x.42d1e3b1.partial": "failed"}


@pytest.mark.parametrize(
    "under_way",
    [
        WANTED.replace('"one"', '"xylophone-recording-2026-11-22.wav"'),
        WANTED.replace('"one"', f'"x{"-long" * 30}"'),
        UPLOADED.replace('"one.18ce2bd0.partial"', '"x-recording.18ce2bd0.partial"'),
        SET_TIME.replace('"deep"', '"x-folder-of-measurements-of-2026"'),
    ],
    ids=["another file", "one with a long name", "one that is being renamed", "a folder"],
)
def test_upload_name_is_not_matched_to_longer_file_name(under_way: str) -> None:
    assert states(parsed(under_way, NOT_RENAMED)) == {"x": "failed"}


def test_unreadable_folder_is_error_without_file_outcome() -> None:
    log = parsed(NO_FOLDER)
    assert states(log) == {}
    [group] = log.outcomes.errors
    assert (group.code, group.side, group.count) == ("permission_denied", Side.SOURCE, 1)
    assert group.samples[0].path == "deep/er"


def test_missing_source_is_error_without_path() -> None:
    # `webdav root 'nope'` is rclone's description of the remote, and no path.
    log = parsed(NO_SOURCE)
    assert log.outcomes.errors == (
        ErrorGroup(
            "source_not_found",
            Side.SOURCE,
            False,
            1,
            (Sample("", "error reading source root directory: directory not found"),),
        ),
    )
    assert not log.parser.destination_list_failed


def test_failed_listing_of_destination_is_remembered() -> None:
    log = parsed(NO_LISTING)
    assert log.parser.destination_list_failed
    assert [group.side for group in log.outcomes.errors] == [Side.DESTINATION]
    assert log.parser.is_unlisted_at_destination("any/file")


def test_new_attempt_forgets_failed_listing_of_destination() -> None:
    log = parsed(NO_LISTING)
    log.parser.begin_attempt()
    assert not log.parser.destination_list_failed
    assert not log.parser.is_unlisted_at_destination("any/file")


def test_failed_listing_of_folder_at_destination_is_remembered_for_files_below_it() -> None:
    log = parsed(NO_LISTING_OF_FOLDER)
    assert not log.parser.destination_list_failed
    paths = ["a", "sub", "sub/a", "sub/x/a", "subs/a"]
    unlisted = list(filter(log.parser.is_unlisted_at_destination, paths))
    assert unlisted == ["sub/a", "sub/x/a"]


def test_lines_without_outcome_count_for_nothing() -> None:
    log = parsed(*WITHOUT_OUTCOME, CALL, REPLY)
    assert states(log) == {}
    assert log.outcomes.totals == Totals()
    assert log.outcomes.errors == ()


def test_errors_are_grouped_by_code_and_side_with_five_samples() -> None:
    denied = [DENIED.replace('"denied"', f'"denied-{number}"') for number in range(12)]
    log = parsed(UNREADABLE, *denied, CORRUPTED)

    assert [(group.code, group.side, group.count) for group in log.outcomes.errors] == [
        ("permission_denied", Side.DESTINATION, 12),
        ("permission_denied", Side.SOURCE, 1),
        ("checksum_mismatch", Side.DESTINATION, 1),
    ]
    assert [sample.path for sample in log.outcomes.errors[0].samples] == [
        f"denied-{number}" for number in range(5)
    ]


def test_secret_in_log_reaches_no_outcome() -> None:
    line = DENIED.replace("403 Forbidden", "403 canary-password is wrong")
    log = parsed(line, NO_SOURCE.replace("directory not found", "no canary-password"))

    shown = f"{list(log.outcomes.drain())} {log.outcomes.errors}"
    assert "[redacted]" in shown
    assert "canary" not in shown


@pytest.mark.parametrize("size", ['"many"', "null", "1.5", "{}"])
def test_size_that_is_no_integer_counts_as_zero(size: str) -> None:
    log = parsed(COPIED.replace('"size":4', f'"size":{size}'))
    assert log.outcomes.totals == Totals(transferred=1, transferred_bytes=0)


def test_file_cancelled_while_stopping_is_unfinished() -> None:
    log = parsed(COPIED)
    log.parser.begin_stopping()
    log.parser.take(CUT_OFF.encode())
    assert states(log) == {"one": "transferred"}
    assert log.outcomes.totals.failed == 0
    assert log.outcomes.errors == ()


def test_file_cancelled_before_stopping_has_failed() -> None:
    log = parsed(CUT_OFF)
    assert states(log) == {"f": "failed"}
    assert [group.code for group in log.outcomes.errors] == ["cancelled"]


def test_file_that_fails_while_stopping_has_failed() -> None:
    log = parsed()
    log.parser.begin_stopping()
    log.parser.take(DENIED.encode())
    assert states(log) == {"denied": "failed"}


def test_many_files_that_cannot_be_renamed_are_named_quickly() -> None:
    # As on a server that forbids renaming: every file fails in the same way.
    log = parsed()
    names = [f"measurement-of-2026-11-22-number-{number}.h5" for number in range(20_000)]
    began = time.process_time()
    for name in names:
        log.parser.take(WANTED.replace('"one"', f'"{name}"').encode())
        log.parser.take(UPLOADED.replace('"one.18', f'"{name}.18').encode())
        for line in (NOT_RENAMED, REMOVING):
            log.parser.take(line.replace('"x.42d1e3b1', f'"{name}.18ce2bd0').encode())
    # This takes about 1 s; a search through all names for each file would take minutes.
    assert time.process_time() - began < 15
    assert states(log) == dict.fromkeys(names, "failed")


@pytest.mark.parametrize(
    "name",
    ["n" * 99 + "l", "n" * 100 + "l", "n" * 250 + ".h5", "é" * 60 + ".h5", "🎉é" * 40],
    ids=["100 bytes", "101", "253", "letters of two bytes", "letters of four"],
)
def test_long_name_is_reported_in_full_if_renaming_fails(
    rclone: Path, tmp_path: Path, name: str
) -> None:
    # rclone cuts a name of more than 100 bytes to make room for its suffix.
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / name).write_bytes(b"content")
    (tmp_path / "b" / "deep" / name / "full").mkdir(parents=True)

    lines = log_of(rclone, tmp_path, "copy", tmp_path / "a", tmp_path / "b")

    assert states(parsed(*(line.decode() for line in lines))) == {f"deep/{name}": "failed"}


def test_new_attempt_forgets_files_cut_off_in_the_last() -> None:
    """Otherwise a stop in the new attempt would remove a file that was copied since."""
    log = parsed(WANTED)
    log.parser.begin_stopping()
    log.parser.take(CUT_OFF.replace('"f"', '"one"').encode())
    assert log.parser.cut_off == {"one": MISSING_SIZE}
    log.parser.begin_attempt()
    assert log.parser.cut_off == {}


def test_size_before_cut_off_copy_is_kept() -> None:
    log = parsed(UPLOADED.replace("one.18ce2bd0.partial", "f"))
    log.parser.begin_stopping()
    log.parser.take(CUT_OFF.encode())
    assert log.parser.cut_off == {"f": 4}
