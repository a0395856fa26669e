"""What became of every file, as it is read from rclone's log.

The lines are rclone 1.75.2's own, taken from runs with `--use-json-log -vv`, from which
only the time was left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import (
    ErrorGroup,
    FileOutcome,
    FileState,
    Reason,
    Sample,
    Side,
    Totals,
)

COPIED = (
    '{"level":"info","msg":"Copied (new)","size":4,"object":"one","objectType":"*local.Object",'
    '"source":"operations/copy.go:382"}'
)
COPIED_ODD = (
    '{"level":"info","msg":"Copied (replaced existing)","size":6,'
    '"object":"deep/émoji 🎉 \\"q\\".txt","objectType":"*local.Object",'
    '"source":"operations/copy.go:382"}'
)
COPIED_BY_THE_STORAGE = (
    '{"level":"info","msg":"Copied (server-side copy) to: two","size":9,"object":"one",'
    '"objectType":"*s3.Object","source":"operations/copy.go:382"}'
)
SKIPPED = (
    '{"level":"debug","msg":"Unchanged skipping","object":"same","objectType":"*local.Object",'
    '"source":"operations/operations.go:1828"}'
)
DENIED = (
    '{"level":"error","msg":"Failed to copy: unchunked simple update failed: '
    'Sabre\\\\DAV\\\\Exception\\\\Forbidden: 403 Forbidden","object":"denied",'
    '"objectType":"*local.Object","source":"operations/copy.go:349"}'
)
UNREADABLE = (
    '{"level":"error","msg":"Failed to copy: failed to open source object: 403 Forbidden",'
    '"object":"secret.h5","objectType":"*webdav.Object","source":"operations/copy.go:349"}'
)
CORRUPTED = (
    '{"level":"error","msg":"corrupted on transfer: sizes differ src(Local file system at c) 6 '
    'vs dst(webdav root \'\') 3","object":"wrong-size","objectType":"*webdav.Object",'
    '"source":"operations/copy.go:359"}'
)
CORRUPTED_PARTIAL = CORRUPTED.replace('"wrong-size"', '"wrong-size.18ce2bd0.partial"')
NOT_RENAMED = (
    '{"level":"error","msg":"partial file rename failed: can\'t move object - incompatible '
    'remotes","object":"x.42d1e3b1.partial","objectType":"*local.Object",'
    '"source":"operations/copy.go:369"}'
)
CUT_OFF = (
    '{"level":"error","msg":"Failed to copy: operation error S3: PutObject, https response error '
    'StatusCode: 0, RequestID: , HostID: , canceled, context canceled","object":"f",'
    '"objectType":"*webdav.Object","source":"operations/copy.go:349"}'
)
NO_SOURCE = (
    '{"level":"error","msg":"error reading source root directory: directory not found",'
    '"object":"webdav root \'nope\'","objectType":"*webdav.Fs","source":"march/march.go:568"}'
)
NO_LISTING = (
    '{"level":"error","msg":"error reading destination root directory: couldn\'t list files: '
    '403 Forbidden","object":"webdav root \'nope\'","objectType":"*webdav.Fs",'
    '"source":"march/march.go:568"}'
)
NO_FOLDER = (
    '{"level":"error","msg":"error reading source directory \\"deep/er\\": 403 Forbidden",'
    '"object":"deep/er","objectType":"string","source":"march/march.go:570"}'
)
CALL = (
    '{"level":"debug","msg":"rc: \\"sync/copy\\": with parameters map[_group:transfer '
    'dstFs:destination:bucket/a srcFs:source:a]","source":"rcserver/rcserver.go:300"}'
)
REPLY = (
    '{"level":"debug","msg":"rc: \\"sync/copy\\": reply map[]: <nil>",'
    '"source":"rcserver/rcserver.go:313"}'
)
REFUSAL = (
    '{"level":"error","msg":"rc: \\"sync/copy\\": error: directory not found",'
    '"source":"rcserver/rcserver.go:187"}'
)
CREATING = (
    '{"level":"debug","msg":"Creating backend with remote \\"%s:a\\"","source":"fs/newfs.go:54"}'
)
WANTED = (
    '{"level":"debug","msg":"Need to transfer - File not found at Destination","object":"one",'
    '"objectType":"*local.Object","source":"sync/sync.go:1262"}'
)
UPLOADED = (
    '{"level":"debug","msg":"size = 4 OK","object":"one.18ce2bd0.partial",'
    '"objectType":"*local.Object","source":"operations/operations.go:188"}'
)
RENAMED = (
    '{"level":"debug","msg":"renamed to: one","object":"one.18ce2bd0.partial",'
    '"objectType":"*local.Object","source":"operations/copy.go:374"}'
)
REMOVING = (
    '{"level":"info","msg":"Removing failed copy","object":"x.42d1e3b1.partial",'
    '"objectType":"*local.Object","source":"operations/copy.go:48"}'
)
SET_TIME = (
    '{"level":"info","msg":"Set directory modification time (using DirSetModTime)",'
    '"object":"deep","objectType":"string","source":"operations/operations.go:2794"}'
)
NOTHING_TO_DO = '{"level":"info","msg":"There was nothing to transfer","source":"sync/sync.go:980"}'
LINK = (
    '{"level":"notice","msg":"Can\'t follow symlink without -L/--copy-links","object":"link",'
    '"objectType":"*local.Object","source":"local/local.go:1370"}'
)
SUMMARY = (
    '{"level":"notice","msg":"Failed to copy with 3 errors: last error was: 403 Forbidden",'
    '"source":"cmd/cmd.go:336"}'
)
TOLD_IN_PASSING = (WANTED, UPLOADED, RENAMED, REMOVING, SET_TIME, NOTHING_TO_DO, LINK, SUMMARY)


def record(*lines: str) -> LogParser:
    """A record that has read these lines, ended as a log ends them."""
    made = LogParser(Redactor(["canary-password"]))
    for line in lines:
        made.take(line.encode() + b"\n")
    return made


def states(made: LogParser) -> dict[str, str]:
    return {outcome.path: outcome.state.value for outcome in made.outcomes()}


def test_a_copied_file_is_told_with_its_size() -> None:
    made = record(COPIED, COPIED_ODD)
    assert list(made.outcomes()) == [
        FileOutcome("one", FileState.TRANSFERRED, 4),
        FileOutcome('deep/émoji 🎉 "q".txt', FileState.TRANSFERRED, 6),
    ]
    assert made.totals == Totals(transferred=2, transferred_bytes=10)
    assert made.errors == ()


def test_a_file_that_a_storage_copied_by_itself_is_named_as_it_is_at_the_source() -> None:
    made = record(COPIED_BY_THE_STORAGE)
    assert list(made.outcomes()) == [FileOutcome("one", FileState.TRANSFERRED, 9)]


def test_a_file_that_was_there_is_skipped() -> None:
    made = record(SKIPPED)
    assert list(made.outcomes()) == [FileOutcome("same", FileState.SKIPPED, reason=Reason.SAME)]
    assert made.totals == Totals(skipped=1, reasons={Reason.SAME: 1})


def test_a_file_that_was_refused_has_its_reason() -> None:
    made = record(DENIED)
    [outcome] = made.outcomes()
    assert (outcome.path, outcome.state) == ("denied", FileState.FAILED)
    assert outcome.error is not None
    # Nothing in the text names a side: what fails so, fails while it is written.
    assert (outcome.error.code, outcome.error.side) == ("permission_denied", Side.DESTINATION)
    assert made.totals == Totals(failed=1)


def test_a_file_that_could_not_be_read_is_the_sources_failure() -> None:
    [outcome] = record(UNREADABLE).outcomes()
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.side) == ("permission_denied", Side.SOURCE)


@pytest.mark.parametrize("line", [CORRUPTED, CORRUPTED_PARTIAL], ids=["in place", "partial"])
def test_a_file_that_arrived_corrupted_has_failed_under_its_own_name(line: str) -> None:
    made = record(line)
    [outcome] = made.outcomes()
    assert (outcome.path, outcome.state) == ("wrong-size", FileState.FAILED)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == ("checksum_mismatch", True)


def test_a_file_that_could_not_be_renamed_has_failed_under_its_own_name() -> None:
    made = record(NOT_RENAMED)
    assert states(made) == {"x": "failed"}
    assert made.totals == Totals(failed=1)


def test_a_file_that_is_really_called_partial_keeps_its_name() -> None:
    line = DENIED.replace('"denied"', '"x.42d1e3b1.partial"')
    assert states(record(line)) == {"x.42d1e3b1.partial": "failed"}


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
def test_a_file_is_not_taken_for_another_whose_name_begins_like_its_own(under_way: str) -> None:
    assert states(record(under_way, NOT_RENAMED)) == {"x": "failed"}


def test_a_folder_that_could_not_be_read_is_an_error_of_no_file() -> None:
    made = record(NO_FOLDER)
    assert states(made) == {}
    [group] = made.errors
    assert (group.code, group.side, group.count) == ("permission_denied", Side.SOURCE, 1)
    assert group.samples[0].path == "deep/er"


def test_a_missing_source_is_an_error_without_a_path() -> None:
    # `webdav root 'nope'` is rclone's description of the remote, and no path of anything.
    made = record(NO_SOURCE)
    assert made.errors == (
        ErrorGroup(
            "source_not_found",
            Side.SOURCE,
            False,
            1,
            (Sample("", "error reading source root directory: directory not found"),),
        ),
    )
    assert not made.hopeless


def test_a_destination_that_cannot_be_listed_leaves_no_hope() -> None:
    made = record(NO_LISTING)
    assert made.hopeless
    assert [group.side for group in made.errors] == [Side.DESTINATION]


def test_what_is_told_in_passing_counts_for_nothing() -> None:
    made = record(*TOLD_IN_PASSING, CALL, REPLY)
    assert states(made) == {}
    assert made.totals == Totals()
    assert made.errors == ()


def test_the_refusal_of_a_call_is_counted_by_whoever_made_it() -> None:
    # It stands in the call's reply as well: twice told would be twice counted.
    assert record(REFUSAL).errors == ()


def test_once_a_transfer_is_over_later_calls_do_not_concern_it() -> None:
    made = record()
    made.rest_from("operations/about")
    # What was said before is read late, and counts all the same.
    began = CALL.replace("sync/copy", "operations/about")
    for line in (CALL, COPIED, began, COPIED_ODD, DENIED, NO_FOLDER):
        made.take(line.encode())
    assert states(made) == {"one": "transferred"}
    assert made.errors == ()


def test_the_side_whose_backend_was_set_up_last_is_known() -> None:
    assert record().touched is None
    assert record(CREATING % "source").touched is Side.SOURCE
    assert record(CREATING % "source", CREATING % "destination").touched is Side.DESTINATION
    assert record(CREATING % "source", CREATING % "elsewhere").touched is Side.SOURCE


def test_errors_are_grouped_by_code_and_side_with_at_most_five_samples() -> None:
    denied = [DENIED.replace('"denied"', f'"denied-{number}"') for number in range(12)]
    made = record(UNREADABLE, *denied, CORRUPTED)

    assert [(group.code, group.side, group.count) for group in made.errors] == [
        ("permission_denied", Side.DESTINATION, 12),
        ("permission_denied", Side.SOURCE, 1),
        ("checksum_mismatch", Side.DESTINATION, 1),
    ]
    assert [sample.path for sample in made.errors[0].samples] == [
        f"denied-{number}" for number in range(5)
    ]


def test_a_secret_in_the_log_does_not_reach_an_outcome() -> None:
    line = DENIED.replace("403 Forbidden", "403 canary-password is wrong")
    made = record(line, NO_SOURCE.replace("directory not found", "no canary-password"))

    shown = f"{list(made.outcomes())} {made.errors}"
    assert "[redacted]" in shown
    assert "canary" not in shown


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\n",
        b"panic: runtime error: invalid memory address or nil pointer dereference\n",
        b"goroutine 1 [running]:\n",
        b'{"level":"info","msg":"Copied (new)","size":4,"object":"cut o',
        b"\xff\xfe\x00\x80garbage\n",
        b"[]\n",
        b"null\n",
        b'"Copied (new)"\n',
        b"{}\n",
        b'{"level":7,"msg":["Copied (new)"],"object":{"a":1}}\n',
        b'{"level":"info","msg":null,"object":null,"size":"many"}\n',
        b'{"size":' + b"9" * 5000 + b"}\n",
        b"[" * 100_000 + b"\n",
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
def test_what_is_not_rclones_json_is_passed_over(garbage: bytes) -> None:
    made = record(COPIED)
    made.take(garbage)
    made.take(SKIPPED.encode())
    assert states(made) == {"one": "transferred", "same": "skipped"}
    assert made.errors == ()


@pytest.mark.parametrize("size", ['"many"', "null", "1.5", "{}"])
def test_a_size_that_is_no_number_of_bytes_is_not_counted(size: str) -> None:
    made = record(COPIED.replace('"size":4', f'"size":{size}'))
    assert made.totals == Totals(transferred=1, transferred_bytes=0)


def test_each_outcome_is_told_once() -> None:
    made = record(COPIED)
    assert len(list(made.outcomes())) == 1
    assert list(made.outcomes()) == []
    made.take(SKIPPED.encode())
    assert [outcome.path for outcome in made.outcomes()] == ["same"]
    same = {Reason.SAME: 1}
    assert made.totals == Totals(1, 1, transferred_bytes=4, reasons=same)


def test_what_was_cut_off_by_the_end_is_not_done_rather_than_failed() -> None:
    made = record(COPIED)
    made.end()
    made.take(CUT_OFF.encode())
    assert states(made) == {"one": "transferred"}
    assert made.totals.failed == 0
    assert made.errors == ()


def test_what_is_cut_off_before_the_end_has_failed() -> None:
    made = record(CUT_OFF)
    assert states(made) == {"f": "failed"}
    assert [group.code for group in made.errors] == ["cancelled"]


def test_what_fails_by_itself_after_the_end_has_failed() -> None:
    made = record()
    made.end()
    made.take(DENIED.encode())
    assert states(made) == {"denied": "failed"}


def test_a_log_of_200000_lines_is_read_quickly() -> None:
    lines = [
        (COPIED if number % 2 else SKIPPED).replace('"one"', f'"{number}"').encode()
        for number in range(200_000)
    ]
    made = record()

    began = time.process_time()
    for line in lines:
        made.take(line)
    assert sum(1 for _ in made.outcomes()) == 200_000
    # It takes about 2 s; something quadratic would take hours.
    assert time.process_time() - began < 20
    same = {Reason.SAME: 100_000}
    assert made.totals == Totals(100_000, 100_000, transferred_bytes=400_000, reasons=same)


def test_many_files_that_could_not_be_renamed_are_told_quickly_and_each_by_its_name() -> None:
    # As on a server that lets nobody rename: every one of them fails in the same way.
    made = record()
    names = [f"measurement-of-2026-11-22-number-{number}.h5" for number in range(20_000)]
    began = time.process_time()
    for name in names:
        made.take(WANTED.replace('"one"', f'"{name}"').encode())
        made.take(UPLOADED.replace('"one.18', f'"{name}.18').encode())
        for line in (NOT_RENAMED, REMOVING):
            made.take(line.replace('"x.42d1e3b1', f'"{name}.18ce2bd0').encode())
    # It takes about 1 s; to look through all names for each would take minutes.
    assert time.process_time() - began < 15
    assert states(made) == dict.fromkeys(names, "failed")


def fed(made: LogParser, count: int) -> threading.Thread:
    """A thread that feeds lines to a record, as the one that reads the log does."""

    def feed() -> None:
        for _ in range(count):
            made.take(COPIED.encode())

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


def settled(made: LogParser) -> int:
    """How many files are counted once the count has stood still for a while."""
    counted = -1
    while counted != made.totals.transferred:
        counted = made.totals.transferred
        time.sleep(0.3)
    return counted


def test_while_the_reader_is_away_a_record_fills_up_and_then_waits() -> None:
    made = record()
    with made.held():
        feeder = fed(made, 5_000)
        full = settled(made)
        assert 100 <= full <= 2_000
        assert feeder.is_alive()

        # As many as are taken away may follow.
        outcomes = made.outcomes()
        for _ in range(10):
            next(outcomes)
        assert settled(made) == full + 10

    # Now it is read without a bound, so that no call to rclone has to wait.
    feeder.join(10)
    assert not feeder.is_alive()
    assert made.totals.transferred == 5_000
    assert sum(1 for _ in made.outcomes()) == 5_000 - 10


def test_a_reader_who_goes_away_for_good_lets_the_log_go_on() -> None:
    made = record()

    def leave() -> None:
        with made.held():
            fed(made, 3_000)
            settled(made)
            raise GeneratorExit

    with pytest.raises(GeneratorExit):
        leave()
    assert settled(made) == 3_000


def test_a_record_that_nobody_holds_is_not_bounded() -> None:
    made = record()
    feeder = fed(made, 5_000)
    feeder.join(10)
    assert not feeder.is_alive()
    assert made.totals.transferred == 5_000


@pytest.mark.parametrize("last", [REPLY, REFUSAL], ids=["a reply", "a refusal"])
def test_the_log_is_read_to_the_end_of_a_call_before_its_outcomes_are_final(last: str) -> None:
    made = record(CALL)

    def later() -> None:
        time.sleep(0.2)
        made.take(COPIED.encode())
        made.take(last.encode())

    threading.Thread(target=later, daemon=True).start()
    began = time.monotonic()
    made.settle("sync/copy", 1, 10)

    assert made.totals.transferred == 1
    assert time.monotonic() - began < 5


def test_a_call_is_waited_for_by_its_name_and_number_and_not_for_ever() -> None:
    made = record(CALL, REPLY)
    for call, times, shortest in (
        ("sync/copy", 1, 0.0),
        ("sync/copy", 2, 0.3),
        ("operations/stat", 1, 0.3),
    ):
        began = time.monotonic()
        made.settle(call, times, 0.3)
        assert shortest <= time.monotonic() - began < shortest + 0.25, (call, times)


def run(rclone: Path, home: Path, *arguments: str | Path) -> list[bytes]:
    """The log of an rclone with nothing in its environment that could change it."""
    done = subprocess.run(
        [rclone, *arguments, "--config=", "--use-json-log", "-vv", "--retries=1"],
        env={"HOME": str(home)},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    return done.stderr.splitlines(keepends=True)


@pytest.mark.parametrize(
    "name",
    ["n" * 99 + "l", "n" * 100 + "l", "n" * 250 + ".h5", "é" * 60 + ".h5", "🎉é" * 40],
    ids=["100 bytes", "101", "253", "letters of two bytes", "letters of four"],
)
def test_a_file_with_a_long_name_that_could_not_be_renamed_is_named_in_full(
    rclone: Path, tmp_path: Path, name: str
) -> None:
    # rclone cuts a name of more than 100 bytes to make room for what it adds to it.
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / name).write_bytes(b"content")
    (tmp_path / "b" / "deep" / name / "full").mkdir(parents=True)

    lines = run(rclone, tmp_path, "copy", tmp_path / "a", tmp_path / "b")

    assert states(record(*(line.decode() for line in lines))) == {f"deep/{name}": "failed"}


def test_the_log_of_the_installed_rclone_is_understood(rclone: Path, tmp_path: Path) -> None:
    source, destination = tmp_path / "a", tmp_path / "b"
    files: dict[str, bytes] = {
        "new": b"new",
        "deep/er/new.bin": os.urandom(1000),
        'émoji 🎉 "q".txt': b"letters",
        "empty": b"",
        "changed": b"changed",
        "same": b"same",
        "in the way": b"a folder stands there",
    }
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (destination / "in the way" / "full").mkdir(parents=True)
    (destination / "changed").write_bytes(b"old")
    (destination / "same").write_bytes(b"same")
    at: Any = (source / "same").stat()
    os.utime(destination / "same", ns=(at.st_atime_ns, at.st_mtime_ns))

    made = record()
    for line in run(rclone, tmp_path, "copy", source, destination):
        # What the command says at its end is not said by `rclone rcd`.
        if not json.loads(line).get("source", "").startswith("cmd/"):
            made.take(line)

    told = states(made)
    assert told == {
        **dict.fromkeys(files, "transferred"),
        "same": "skipped",
        "in the way": "failed",
    }
    sizes = sum(len(files[name]) for name, state in told.items() if state == "transferred")
    assert made.totals == Totals(len(files) - 2, 1, 1, sizes, {Reason.SAME: 1})
    assert [group.count for group in made.errors] == [1]
