"""rclone's log is read line by line, as far as it counts in each phase of a run."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.model.result import Reason, Side, Totals
from support.rclone_log import (
    CALL,
    COPIED,
    COPIED_ODD,
    CREATING,
    DENIED,
    NO_FOLDER,
    NOOP,
    REFUSAL,
    REPLY,
    SKIPPED,
    ParsedLog,
    log_of,
    parsed,
    states,
)


def test_refusal_of_rc_call_is_not_counted() -> None:
    # It is in the reply to the call as well, and is counted there.
    assert parsed(REFUSAL).outcomes.errors == ()


def test_lines_after_last_call_count_for_nothing() -> None:
    log = parsed()
    log.parser.finish_at("operations/about")
    # Earlier lines that are read late still count.
    began = CALL.replace("sync/copy", "operations/about")
    for line in (CALL, COPIED, began, COPIED_ODD, DENIED, NO_FOLDER):
        log.parser.take(line.encode())
    assert states(log) == {"one": "transferred"}
    assert log.outcomes.errors == ()


def test_side_opened_last_is_known() -> None:
    assert parsed().parser.last_opened_side is None
    assert parsed(CREATING % "source").parser.last_opened_side is Side.SOURCE
    assert (
        parsed(CREATING % "source", CREATING % "destination").parser.last_opened_side
        is Side.DESTINATION
    )
    assert (
        parsed(CREATING % "source", CREATING % "elsewhere").parser.last_opened_side is Side.SOURCE
    )


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
def test_line_that_is_not_rclone_json_is_ignored(garbage: bytes) -> None:
    log = parsed(COPIED)
    log.parser.take(garbage)
    log.parser.take(SKIPPED.encode())
    assert states(log) == {"one": "transferred", "same": "skipped"}
    assert log.outcomes.errors == ()


def test_each_outcome_is_drained_once() -> None:
    log = parsed(COPIED)
    assert len(list(log.outcomes.drain())) == 1
    assert list(log.outcomes.drain()) == []
    log.parser.take(SKIPPED.encode())
    assert [outcome.path for outcome in log.outcomes.drain()] == ["same"]
    same = {Reason.SAME: 1}
    assert log.outcomes.totals == Totals(1, 1, transferred_bytes=4, reasons=same)


def test_50000_lines_are_read_quickly() -> None:
    lines = [
        (COPIED if number % 2 else SKIPPED).replace('"one"', f'"{number}"').encode()
        for number in range(50_000)
    ]
    log = parsed()

    began = time.process_time()
    for line in lines:
        log.parser.take(line)
    assert sum(1 for _ in log.outcomes.drain()) == 50_000
    # This takes about 0.5 s; anything quadratic would take hours.
    assert time.process_time() - began < 20
    same = {Reason.SAME: 25_000}
    assert log.outcomes.totals == Totals(25_000, 25_000, transferred_bytes=100_000, reasons=same)


def fed(log: ParsedLog, count: int) -> threading.Thread:
    """Feed lines in another thread, as the thread that reads the log does."""

    def feed() -> None:
        for _ in range(count):
            log.parser.take(COPIED.encode())

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


def settled(log: ParsedLog) -> int:
    """The number of copied files, once it has not changed for a while."""
    counted, times = -1, 0
    while times < 4:
        time.sleep(0.2)
        times = times + 1 if counted == log.outcomes.totals.transferred else 0
        counted = log.outcomes.totals.transferred
    return counted


def test_log_reader_waits_while_bounded_queue_is_full() -> None:
    log = parsed()
    with log.outcomes.bounded():
        feeder = fed(log, 5_000)
        full = settled(log)
        assert 100 <= full <= 2_000
        assert feeder.is_alive()

        # Each outcome that is drained makes room for one.
        outcomes = log.outcomes.drain()
        for _ in range(10):
            next(outcomes)
        assert settled(log) == full + 10

    # Now the queue is unbounded, so that no call to rclone has to wait.
    feeder.join(10)
    assert not feeder.is_alive()
    assert log.outcomes.totals.transferred == 5_000
    assert sum(1 for _ in log.outcomes.drain()) == 5_000 - 10


def test_log_is_read_on_after_consumer_has_left() -> None:
    log = parsed()

    feeders: list[threading.Thread] = []

    def leave() -> None:
        with log.outcomes.bounded():
            feeders.append(fed(log, 3_000))
            settled(log)
            raise GeneratorExit

    with pytest.raises(GeneratorExit):
        leave()
    feeders[0].join(10)
    assert log.outcomes.totals.transferred == 3_000


def test_queue_is_unbounded_by_default() -> None:
    log = parsed()
    feeder = fed(log, 5_000)
    feeder.join(10)
    assert not feeder.is_alive()
    assert log.outcomes.totals.transferred == 5_000


def marker(number: int) -> str:
    """The line of a marker."""
    return NOOP.replace("map[]", f"map[marker:{number}]")


@pytest.mark.parametrize("last", [REPLY, REFUSAL], ids=["a reply", "a refusal"])
def test_marker_in_log_is_waited_for(last: str) -> None:
    log = parsed(CALL)

    def later() -> None:
        time.sleep(0.2)
        log.parser.take(COPIED.encode())
        log.parser.take(last.encode())
        log.parser.take(marker(1).encode())

    threading.Thread(target=later, daemon=True).start()
    began = time.monotonic()
    log.parser.wait_for_marker(1, 10)

    assert log.outcomes.totals.transferred == 1
    assert time.monotonic() - began < 5


def test_marker_is_waited_for_by_its_number_until_timeout() -> None:
    """Replies to other calls, and calls without a number, are no markers."""
    log = parsed(CALL, marker(2), NOOP, REPLY)
    began = time.monotonic()
    for number in (1, 2):
        log.parser.wait_for_marker(number, 60)
    assert time.monotonic() - began < 30
    began = time.monotonic()
    log.parser.wait_for_marker(3, 0.5)
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(
    "line",
    [
        b"fatal error: runtime: out of memory",
        b"runtime: out of memory: cannot allocate 4194304-byte block (536870912 in use)",
        b"fatal error: out of memory",
        b"fatal error: runtime: cannot map pages in arena address space",
        b"fatal error: cannot allocate heap metadata",
        b"runtime: failed to create new OS thread (have 12 already; errno=12)",
        b"SIGSEGV: segmentation violation",
        b"fatal error: unexpected signal during runtime execution",
    ],
)
def test_memory_that_is_used_up_is_known_once_log_has_ended(line: bytes) -> None:
    log = parsed()
    assert not log.parser.is_out_of_memory

    def later() -> None:
        time.sleep(0.2)  # the parser waits by then
        log.parser.take(line + b"\n")
        log.parser.take(b"")

    threading.Thread(target=later, daemon=True).start()
    log.parser.wait_for_end(10)
    assert log.parser.is_out_of_memory


def test_log_of_installed_rclone_is_understood(rclone: Path, tmp_path: Path) -> None:
    source, destination = tmp_path / "a", tmp_path / "b"
    files: dict[str, bytes] = {
        "new": b"new",
        "deep/er/new.bin": os.urandom(1000),
        'émoji 🎉 "q".txt': b"letters",
        "empty": b"",
        "changed": b"changed",
        "same": b"same",
        "in the way": b"the destination has a folder of this name",
    }
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (destination / "in the way" / "full").mkdir(parents=True)
    (destination / "changed").write_bytes(b"old")
    (destination / "same").write_bytes(b"same")
    at: Any = (source / "same").stat()
    os.utime(destination / "same", ns=(at.st_atime_ns, at.st_mtime_ns))

    log = parsed()
    for line in log_of(rclone, tmp_path, "copy", source, destination):
        # Only the command logs a summary at its end; `rclone rcd` does not.
        if not json.loads(line).get("source", "").startswith("cmd/"):
            log.parser.take(line)

    told = states(log)
    assert told == {
        **dict.fromkeys(files, "transferred"),
        "same": "skipped",
        "in the way": "failed",
    }
    sizes = sum(len(files[name]) for name, state in told.items() if state == "transferred")
    assert log.outcomes.totals == Totals(len(files) - 2, 1, 1, sizes, {Reason.SAME: 1})
    assert [group.count for group in log.outcomes.errors] == [1]


def test_errors_of_probe_do_not_count() -> None:
    log = parsed()
    with log.parser.probing():
        log.parser.take(NO_FOLDER.encode())
        log.parser.take(DENIED.encode())
    assert log.outcomes.errors == ()
    log.parser.take(DENIED.encode())
    assert states(log) == {"denied": "failed"}


def test_finished_log_stays_finished() -> None:
    log = parsed()
    log.parser.finish_at("sync/copy")
    log.parser.take(CALL.encode())
    log.parser.begin_stopping()
    log.parser.begin_attempt()
    log.parser.take(COPIED.encode())
    assert states(log) == {}
