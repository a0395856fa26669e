"""Read errors of sources, from rclone's DEBUG log."""

from __future__ import annotations

import json

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.log.source_errors import SourceErrors
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Side

INTERRUPTED = "Reopening on read failure after offset 1000 bytes: retry 1/2: unexpected EOF"
GIVEN_UP = "Reopen failed after offset 1000 bytes read: failed to reopen: too many retries"
REFUSED = "Reopen failed after offset 1000 bytes read: 401 Unauthorized"
BROKEN = 'unchunked simple update failed: Put "http://dav.example.org/f": unexpected EOF'
LOCKED = "unchunked simple update failed: 423 Locked"


def retry(error: str, number: int = 1) -> str:
    return f"Received error: {error} - low level retry {number}/2"


def reason(error: str, *messages: str) -> str:
    errors = SourceErrors()
    for message in messages:
        errors.record(message, "f")
    return errors.pop("f", error)


def test_source_that_was_given_up_is_the_cause() -> None:
    assert reason(BROKEN, INTERRUPTED, GIVEN_UP) == "unexpected EOF"
    assert reason(BROKEN, INTERRUPTED, GIVEN_UP, retry(BROKEN)) == "unexpected EOF"
    assert reason(
        BROKEN, INTERRUPTED, GIVEN_UP, retry(BROKEN), INTERRUPTED, GIVEN_UP, retry(BROKEN, 2)
    ) == ("unexpected EOF")


def test_source_that_refuses_the_rest_gives_the_reason() -> None:
    assert reason(BROKEN, INTERRUPTED, REFUSED) == "401 Unauthorized"


def test_source_that_could_be_resumed_is_not_the_cause() -> None:
    assert reason(LOCKED, INTERRUPTED) == ""
    assert reason(LOCKED, INTERRUPTED, retry(LOCKED)) == ""


def test_only_the_last_error_counts() -> None:
    assert reason(LOCKED, INTERRUPTED, GIVEN_UP, retry(BROKEN), retry(LOCKED, 2)) == ""
    # No retry is logged for a permanent error.
    assert reason("403 Forbidden", INTERRUPTED, GIVEN_UP, retry(BROKEN)) == ""


def test_errors_are_kept_for_each_file_until_it_is_done() -> None:
    errors = SourceErrors()
    for message in (INTERRUPTED, GIVEN_UP, retry(BROKEN), INTERRUPTED, GIVEN_UP):
        errors.record(message, "f")
    assert errors.pop("g", BROKEN) == ""
    assert errors.pop("f") == "unexpected EOF"
    assert errors.pop("f", BROKEN) == ""


def test_failed_file_has_the_read_error_of_its_source() -> None:
    outcomes = FileOutcomes()
    parser = LogParser(outcomes, Redactor(()))
    for level, message in [
        ("debug", INTERRUPTED),
        ("debug", GIVEN_UP),
        ("debug", retry(BROKEN)),
        ("error", f"Failed to copy: {BROKEN}"),
    ]:
        parser.take(json.dumps({"level": level, "msg": message, "object": "f"}).encode())
    (outcome,) = outcomes.drain()
    assert outcome.error is not None
    assert (outcome.error.side, outcome.error.code) == (Side.SOURCE, "storage_unreachable")
    assert outcome.error.message == "error reading source: unexpected EOF"
