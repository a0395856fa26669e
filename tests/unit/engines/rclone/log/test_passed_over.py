"""Entries that rclone passes over count where they are the source's, and only in a copy."""

from __future__ import annotations

import json

import pytest

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.check_lines import CheckCounts
from efss_transfer.engines.rclone.log.listing_lines import ListingRoot
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.log.passed_over import PassedOver
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.sharding import contains
from efss_transfer.model.request import Selection
from efss_transfer.model.result import FileOutcome, FileState, Shard, Side

DAV = ListingRoot("webdav", "data", "/web")
HTTP = ListingRoot("http", "data")
S3 = ListingRoot("s3", "bucket/data")
BEGIN = {"msg": 'rc: "sync/copy": with parameters map[]'}
END = {"msg": 'rc: "sync/copy": reply map[]: <nil>'}
REFUSED = {
    "msg": "skipping because of error: failed to stat: HTTP Error: 403 Forbidden",
    "object": "bad",
    "objectType": "string",
}
CANCELLED = {**REFUSED, "msg": 'skipping because of error: Head "http://h/bad": context canceled'}
BUSY = {
    "msg": 'Ignoring item with bad status ["HTTP/1.1 425 Too Early"]',
    "object": "bad",
    "objectType": "string",
}
ALIAS = {"msg": 'Item with unknown path received: "/4711/a", "/web/data/"'}
SEEN = {"msg": "Excluded", "object": "b", "objectType": "*webdav.Object"}


EVERYTHING = Selection()


class Run:
    """A log, and what it adds to."""

    def __init__(
        self,
        source: ListingRoot,
        destination: ListingRoot = S3,
        selection: Selection = EVERYTHING,
        *,
        last: bool = True,
    ) -> None:
        self.outcomes = FileOutcomes()
        redactor = Redactor([])
        self.log = LogParser(self.outcomes, redactor)
        roots = {Side.SOURCE: source, Side.DESTINATION: destination}
        self.passed_over = PassedOver(self.outcomes, roots, selection, redactor)
        self.log.passed_over = self.passed_over
        self.outcomes.begin_attempt(last=last)
        self.log.begin_attempt()

    def read(self, *lines: dict[str, str]) -> None:
        for line in lines:
            self.log.take(json.dumps({"level": "debug", **line}).encode())

    @property
    def errors(self) -> list[tuple[str, int, str]]:
        return [(it.code, it.count, it.samples[0].path) for it in self.outcomes.errors]


def test_entry_counts_in_a_copy_alone() -> None:
    run = Run(HTTP)
    run.read(REFUSED)
    assert run.errors == []
    run.read(BEGIN, REFUSED, END, REFUSED)
    assert run.errors == [("permission_denied", 1, "bad")]
    assert run.outcomes.totals.failed == 1


def test_cancelled_request_is_no_failure() -> None:
    run = Run(HTTP)
    run.log.begin_stopping()
    run.read(BEGIN, CANCELLED)
    assert run.errors == []


def test_file_that_an_earlier_attempt_copied_has_not_failed() -> None:
    run = Run(HTTP, last=False)
    run.outcomes.add(FileOutcome("bad", FileState.TRANSFERRED, 1))
    run.outcomes.begin_attempt(last=True)
    run.read(BEGIN, REFUSED, END)
    assert run.errors == []


def test_entry_that_may_be_a_folder_makes_the_next_attempt_list_again() -> None:
    run = Run(DAV, last=False)
    run.read(BEGIN, BUSY, END)
    assert run.errors == []
    assert [failure.code for failure in run.outcomes.held_back_failures] == ["storage_busy"]
    assert run.outcomes.files_to_retry is None
    run.outcomes.begin_attempt(last=True)
    assert run.outcomes.held_back_failures == ()
    run.read(BEGIN, BUSY, END)
    assert run.errors == [("storage_busy", 1, "bad")]


def test_entry_that_is_held_back_has_failed_when_no_attempt_follows() -> None:
    run = Run(DAV, last=False)
    run.read(BEGIN, BUSY, END)
    run.outcomes.close()
    assert run.errors == [("storage_busy", 1, "bad")]
    assert run.outcomes.totals.failed == 1


def test_entry_of_the_destination_is_no_failure() -> None:
    run = Run(S3, DAV)
    run.read(BEGIN, BUSY, ALIAS, END)
    assert run.errors == []
    assert run.passed_over.take_unsure() == ()


def test_entry_of_either_side_is_decided_later() -> None:
    run = Run(DAV, DAV)
    run.read(BEGIN, BUSY, END)
    assert run.errors == []
    (unsure,) = run.passed_over.take_unsure()
    assert unsure.path == "bad"
    with run.passed_over.asking_source():
        run.read({"msg": 'rc: "operations/size": with parameters map[]'}, BUSY)
    assert run.errors == [("storage_busy", 1, "bad")]


@pytest.mark.parametrize(("lines", "count"), [((ALIAS, ALIAS), 2), ((ALIAS, SEEN), 0)])
def test_folder_has_an_alias_if_no_file_of_it_was_seen(
    lines: tuple[dict[str, str], ...], count: int
) -> None:
    run = Run(DAV)
    run.read(BEGIN, *lines, END)
    run.passed_over.settle()
    assert [it[:2] for it in run.errors] == ([("storage_error", count)] if count else [])


def test_other_shards_report_what_may_be_a_folder_as_an_error() -> None:
    ours = next(shard for shard in (Shard(0, 2), Shard(1, 2)) if contains(shard, "bad"))
    other = Shard(1 - ours.index, 2)
    for shard, failed in ((ours, 1), (other, 0)):
        run = Run(DAV, selection=Selection(shard=shard))
        run.read(BEGIN, BUSY, END)
        assert run.errors == [("storage_busy", 1, "bad")]
        assert run.outcomes.totals.failed == failed
    run = Run(HTTP, selection=Selection(shard=other))
    run.read(BEGIN, REFUSED, END)
    assert run.errors == []


def test_file_that_arrived_and_is_not_listed_again_is_not_verified() -> None:
    run = Run(HTTP)
    run.outcomes.add(FileOutcome("bad", FileState.TRANSFERRED, 1))
    run.outcomes.begin_attempt(last=True)
    run.log.begin_verification(CheckCounts())
    run.read({"msg": 'rc: "operations/check": with parameters map[]'}, REFUSED)
    assert run.errors == [("permission_denied", 1, "bad")]
    assert run.outcomes.totals.failed == 1
    assert run.outcomes.totals.transferred == 0
