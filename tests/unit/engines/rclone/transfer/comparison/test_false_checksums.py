"""When files whose checksums differ stop a copy, and whether it begins again."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.remotes import Remote, RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.false_checksums import FalseChecksums
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Failure, Side
from support.rclone_log import ParsedLog, parsed

FAILURE = Failure("checksum_mismatch", "They differ", retryable=False)
SOURCE = RemotePath(Remote("source", "s3", {}), "bucket/from", Side.SOURCE)
DESTINATION = RemotePath(Remote("destination", "s3", {}), "bucket/to", Side.DESTINATION)


@pytest.fixture
def log() -> ParsedLog:
    return parsed()


def false_checksums(log: ParsedLog) -> FalseChecksums:
    rc = RcClient(Path("/nonexistent/socket"), 1.0)
    context = Context(time.monotonic() + 60)
    run = RunContext(rc, log.parser, log.outcomes, Redactor([]), context, 1.0)
    unused: Any = SimpleNamespace()
    return FalseChecksums(run, unused, unused, unused)


def differ(log: ParsedLog, *paths: str) -> None:
    text = 'corrupted on transfer: md5 hashes differ src(a) "1" vs dst(b) "2"'
    for path in paths:
        log.parser.mismatches.take_failure(path, text, lambda: FAILURE, is_stopping=False)


def returned(steps: Generator[Any, None, bool]) -> bool:
    """What a generator returns that does not wait."""
    with pytest.raises(StopIteration) as end:
        next(steps)
    return bool(end.value.value)


def test_copy_that_was_stopped_begins_again_though_another_file_matched_meanwhile(
    log: ParsedLog,
) -> None:
    checksums = false_checksums(log)
    differ(log, "a", "b", "c")
    assert checksums.should_stop()
    log.parser.mismatches.take_line("md5 = 3 OK", "d")

    assert returned(checksums.settle(SOURCE, DESTINATION))

    assert not checksums.should_stop()
    assert log.outcomes.totals.failed == 0  # They fail once they are copied again.


def test_file_fails_whose_checksums_differ_while_another_matched(log: ParsedLog) -> None:
    checksums = false_checksums(log)
    differ(log, "a")
    log.parser.mismatches.take_line("md5 = 3 OK", "d")

    assert not returned(checksums.settle(SOURCE, DESTINATION))

    assert log.outcomes.totals.failed == 1
    assert checksums.disbelieved is None


def test_files_fail_if_the_copy_ends_before_they_are_settled(log: ParsedLog) -> None:
    checksums = false_checksums(log)
    differ(log, "a", "b")
    checksums.give_up()
    assert log.outcomes.totals.failed == 2
    assert not returned(checksums.settle(SOURCE, DESTINATION))


def test_source_is_read_without_checksums_only_if_they_are_false(log: ParsedLog) -> None:
    checksums = false_checksums(log)
    assert checksums.without_false(SOURCE, DESTINATION) == SOURCE
    checksums.disbelieved = Side.SOURCE
    fs = checksums.without_false(SOURCE, DESTINATION).fs
    assert fs == 'source,server_side_encryption="aws:kms":bucket/from'
    within = RemotePath(SOURCE.remote, "bucket/to", Side.DESTINATION)
    assert checksums.without_false(SOURCE, within) == SOURCE
