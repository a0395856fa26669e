"""Refusals are counted from rclone's DEBUG log, with the reason for each file."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.log.refusals import Refusals

REQUEST = "low level retry 1/10 (error 500 Internal Server Error)"
FILE = "Received error: unchunked simple update failed: 500 Internal Server Error - low level retry"
SLOWER = "Rate limited, increasing sleep to 2ms"
CUT = "Reopening on read failure after offset 1000 bytes: retry 1/10: unexpected EOF"
BROKEN = "Received error: Put: http: ContentLength=5 with Body length 3 - low level retry 1/10"
STOPPED = "Received error: operation error S3: PutObject, context canceled - low level retry 2/10"


def test_refused_requests_and_files_are_counted() -> None:
    refusals = Refusals()
    for message, name in ((REQUEST, "pacer"), (SLOWER, "pacer"), (f"{FILE} 1/10", "a")):
        refusals.take(message, name)
    assert refusals.count == 2
    assert refusals.last == "unchunked simple update failed: 500 Internal Server Error"
    assert refusals.of_files == {"a": refusals.last}


def test_file_that_is_named_as_the_pacer_is_a_file() -> None:
    refusals = Refusals()
    refusals.take(REQUEST, "file")
    assert refusals.count == 0


def test_source_that_breaks_off_is_the_reason() -> None:
    refusals = Refusals()
    refusals.take(CUT, "a")
    refusals.take(BROKEN, "a")
    assert refusals.of_files == {"a": "error reading source: unexpected EOF"}


def test_file_that_was_stopped_is_not_refused() -> None:
    refusals = Refusals()
    refusals.take(STOPPED, "a")
    assert (refusals.count, refusals.of_files) == (0, {})


@pytest.mark.parametrize(
    "message",
    [
        "Copied (new)",
        "Multi-thread Copied (replaced existing)",
        "Unchanged skipping",
        "Destination exists, skipping",
        "Destination is newer than source, skipping",
    ],
)
def test_file_that_gets_through_ends_the_row(message: str) -> None:
    refusals = Refusals()
    refusals.take(f"{FILE} 1/10", "a")
    refusals.take(f"{FILE} 1/10", "b")
    assert refusals.in_a_row.keys() == {"a", "b"}
    refusals.take(message, "a")
    assert (refusals.through, refusals.in_a_row) == (1, {})
    assert set(refusals.of_files) == {"b"}


def test_row_lasts_over_attempts_and_failures() -> None:
    refusals = Refusals()
    refusals.take(f"{FILE} 10/10", "a")
    refusals.take("Failed to copy: 500 Internal Server Error", "a")
    assert refusals.of_files == {}
    refusals.begin_attempt()
    assert refusals.in_a_row.keys() == {"a"}


def test_file_that_fails_at_its_first_request_was_answered() -> None:
    refusals = Refusals()
    refusals.take(f"{FILE} 10/10", "a")
    refusals.take("Failed to copy: 500 Internal Server Error", "a")
    assert refusals.answered == 0
    refusals.take("Failed to copy: 414 Request-URI Too Long", "b")
    assert refusals.answered == 1
