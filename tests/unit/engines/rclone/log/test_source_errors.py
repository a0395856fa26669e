"""Whose fault it was that a file ended in the middle: told from rclone's log at DEBUG."""

from __future__ import annotations

import json

from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.log.source_errors import SourceErrors
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Side

CUT = "Reopening on read failure after offset 1000 bytes: retry 1/2: unexpected EOF"
GIVEN_UP = "Reopen failed after offset 1000 bytes read: failed to reopen: too many retries"
REFUSED = "Reopen failed after offset 1000 bytes read: 401 Unauthorized"
BROKEN = 'unchunked simple update failed: Put "http://dav.example.org/f": unexpected EOF'
LOCKED = "unchunked simple update failed: 423 Locked"


def again(error: str, number: int = 1) -> str:
    return f"Received error: {error} - low level retry {number}/2"


def reason(error: str, *messages: str) -> str:
    reading = SourceErrors()
    for message in messages:
        reading.take(message, "f")
    return reading.end("f", error)


def test_a_source_that_was_given_up_is_the_cause() -> None:
    assert reason(BROKEN, CUT, GIVEN_UP) == "unexpected EOF"
    assert reason(BROKEN, CUT, GIVEN_UP, again(BROKEN)) == "unexpected EOF"
    assert reason(BROKEN, CUT, GIVEN_UP, again(BROKEN), CUT, GIVEN_UP, again(BROKEN, 2)) == (
        "unexpected EOF"
    )


def test_a_source_that_refuses_to_be_read_on_says_why() -> None:
    assert reason(BROKEN, CUT, REFUSED) == "401 Unauthorized"


def test_a_source_that_could_be_read_on_is_not_the_cause() -> None:
    assert reason(LOCKED, CUT) == ""
    assert reason(LOCKED, CUT, again(LOCKED)) == ""


def test_what_failed_at_last_counts_and_not_what_failed_before() -> None:
    assert reason(LOCKED, CUT, GIVEN_UP, again(BROKEN), again(LOCKED, 2)) == ""
    # What is not tried again is not told so.
    assert reason("403 Forbidden", CUT, GIVEN_UP, again(BROKEN)) == ""


def test_each_file_is_by_itself_and_forgotten_when_it_is_done() -> None:
    reading = SourceErrors()
    for message in (CUT, GIVEN_UP, again(BROKEN), CUT, GIVEN_UP):
        reading.take(message, "f")
    assert reading.end("g", BROKEN) == ""
    assert reading.end("f") == "unexpected EOF"
    assert reading.end("f", BROKEN) == ""


def test_the_record_tells_the_source_of_a_file_that_broke_off() -> None:
    record = LogParser(Redactor(()))
    for level, message in [
        ("debug", CUT),
        ("debug", GIVEN_UP),
        ("debug", again(BROKEN)),
        ("error", f"Failed to copy: {BROKEN}"),
    ]:
        record.take(json.dumps({"level": level, "msg": message, "object": "f"}).encode())
    (outcome,) = record.outcomes()
    assert outcome.error is not None
    assert (outcome.error.side, outcome.error.code) == (Side.SOURCE, "storage_unreachable")
    assert outcome.error.message == "error reading source: unexpected EOF"
