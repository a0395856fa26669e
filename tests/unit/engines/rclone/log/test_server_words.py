"""Failures of rclone's log find their server's answers by path, on either side."""

from __future__ import annotations

import pytest

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.server_words import ServerWords
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.request import Selection
from efss_transfer.model.result import FileOutcome, FileState, Reason, Shard, Side
from efss_transfer.webdav.words import Record, RequestFailure, Words

NO_SECRETS = Redactor(())
SOURCE, DESTINATION = Side.SOURCE, Side.DESTINATION


class Two:
    """Two gateways, and the words of their servers."""

    def __init__(self, source: str = "from/data/", destination: str = "/to") -> None:
        self.source, self.destination = Record(), Record()
        records = {SOURCE: self.source, DESTINATION: self.destination}
        roots = {SOURCE: source, DESTINATION: destination}
        self.words = ServerWords(records, roots, NO_SECRETS)

    def told(self, path: str, text: str, side: Side | None = DESTINATION) -> tuple[str, str]:
        failure = self.words.explain(path, text, classify(text, side, NO_SECRETS))
        return failure.code, failure.side.value if failure.side else ""


def failed(path: str, status: int, method: str = "PUT", message: str = "") -> RequestFailure:
    return RequestFailure(method, path, Words(status, "", message))


@pytest.fixture
def two() -> Two:
    return Two()


def test_failure_of_a_file_is_found_on_the_side_that_refused_it(two: Two) -> None:
    two.destination.fail(failed("to/a/f", 507))
    two.source.fail(failed("from/data/g", 423, "GET"))
    assert two.told("a/f", "500 Something") == ("quota_exceeded", "destination")
    assert two.told("g", "failed to open source object: 500") == ("storage_busy", "source")
    # Although rclone's text names no side.
    assert two.told("g", "500 Something") == ("storage_busy", "source")
    assert two.told("other", "403 Forbidden") == ("permission_denied", "destination")


def test_what_was_done_in_the_servers_own_ways_is_counted(two: Two) -> None:
    assert two.words.bulk == {}
    for record in (two.source, two.destination):
        record.bulk_uploads, record.bulk_downloads, record.bulk_listings = 1, 2, 3
        record.unused_bytes, record.resumed_bytes = 4, 5
    assert two.words.bulk == {
        "bulk_uploads": 1,
        "bulk_downloads": 4,
        "bulk_listings": 6,
        "unused_bytes": 8,
        "resumed_bytes": 5,
    }


def test_side_that_the_text_names_is_the_only_one(two: Two) -> None:
    two.destination.fail(failed("to/f", 507))
    assert two.told("f", "failed to open source object: 403 Forbidden") == (
        "permission_denied",
        "source",
    )


def test_folder_that_could_not_be_made_explains_its_files(two: Two) -> None:
    two.destination.fail(failed("to/a", 403, "MKCOL"))
    assert two.told("a/b/f", "Update mkParentDir failed: 409 Conflict") == (
        "permission_denied",
        "destination",
    )
    # What else failed there is no reason.
    two.destination.fail(failed("to/a", 507, "PROPFIND"))
    assert two.told("a/b/f", "409 Conflict") == ("storage_error", "destination")


def test_single_file_is_found_under_its_name_on_either_side() -> None:
    two = Two("from/f.bin", "to/renamed.bin")
    two.destination.fail(failed("to/renamed.bin", 507))
    assert two.told("f.bin", "500 Something") == ("quota_exceeded", "destination")
    two.destination.succeed("to/renamed.bin")
    two.source.fail(failed("from/f.bin", 423, "GET"))
    assert two.told("f.bin", "failed to open source object: 500") == ("storage_busy", "source")
    into_a_folder = Two("from/f.bin", "to/")
    into_a_folder.destination.fail(failed("to/f.bin", 507))
    assert into_a_folder.told("f.bin", "500 Something") == ("quota_exceeded", "destination")


def test_root_is_a_path_like_any_other() -> None:
    two = Two("", "/")
    two.source.fail(failed("", 423, "PROPFIND"))
    assert two.told("", "error reading source root directory: 500", None) == (
        "storage_busy",
        "source",
    )
    two.destination.fail(failed("f", 507))
    assert two.told("f", "500 Something") == ("quota_exceeded", "destination")


def test_comparison_by_rclone_is_not_explained_by_an_answer(two: Two) -> None:
    two.destination.fail(failed("to/f", 423))
    text = "corrupted on transfer: sizes differ src(a) 5 vs dst(b) 4"
    assert two.told("f", text) == ("checksum_mismatch", "destination")


def test_answers_of_an_earlier_attempt_explain_nothing(two: Two) -> None:
    two.destination.fail(failed("to/f", 423))
    two.destination.begin_attempt()
    assert two.told("f", "403 Forbidden") == ("permission_denied", "destination")


EVERYTHING = Selection()


def add(two: Two, outcomes: FileOutcomes, selection: Selection = EVERYTHING) -> list[str]:
    two.words.add_to(outcomes, selection)
    return [outcome.path for outcome in outcomes.drain() if outcome.state is FileState.FAILED]


def test_entry_with_an_error_that_rclone_passed_over_is_a_failed_file(two: Two) -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=True)
    outcomes.add(FileOutcome("copied", FileState.TRANSFERRED, 1))
    outcomes.add(FileOutcome("same", FileState.SKIPPED, 1, reason=Reason.SAME))
    for name in ("copied", "same", "a/lost"):
        two.source.fail_entry(failed(f"from/data/{name}", 403, "PROPFIND"))
    two.source.fail_entry(failed("from/other", 403, "PROPFIND"))
    two.destination.fail_entry(failed("to/f", 403, "PROPFIND"))
    assert add(two, outcomes) == ["a/lost"]
    (group,) = outcomes.errors
    assert (group.code, group.side, group.count) == ("permission_denied", SOURCE, 1)
    assert outcomes.totals.failed == 1
    # Once.
    assert add(two, outcomes) == []


def test_copied_file_that_its_verification_found_in_processing_is_a_failed_file(two: Two) -> None:
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=True)
    outcomes.add(FileOutcome("a/copied", FileState.TRANSFERRED, 1))
    outcomes.add(FileOutcome("same", FileState.SKIPPED, 1, reason=Reason.SAME))
    outcomes.add(FileOutcome("kept", FileState.SKIPPED, 1, reason=Reason.EXISTS))
    outcomes.begin_attempt(last=True)  # as a verification does
    for name in ("a/copied", "same", "kept", "foreign"):
        two.destination.fail_entry(failed(f"to/{name}", 425, "PROPFIND"))
    two.words.add_to(outcomes, Selection())
    (group,) = outcomes.errors
    assert (group.code, group.side, group.retryable) == ("storage_busy", DESTINATION, True)
    assert {sample.path for sample in group.samples} == {"a/copied", "same"}
    assert outcomes.totals.failed == 2


def test_single_file_in_processing_has_the_name_of_the_source() -> None:
    two = Two("from/data/f", "to/g")
    outcomes = FileOutcomes()
    outcomes.begin_attempt(last=True)
    outcomes.add(FileOutcome("f", FileState.TRANSFERRED, 1))
    outcomes.begin_attempt(last=True)
    two.destination.fail_entry(failed("to/g", 425, "PROPFIND"))
    two.words.add_to(outcomes, Selection())
    assert [sample.path for group in outcomes.errors for sample in group.samples] == ["f"]


def test_entry_that_can_be_read_later_has_not_failed(two: Two) -> None:
    two.source.fail_entry(failed("from/data/f", 503, "PROPFIND"))
    two.source.begin_attempt()
    assert two.source.entries
    two.source.succeed("from/data/f")
    assert add(two, FileOutcomes()) == []


@pytest.mark.parametrize(
    "selection",
    [
        Selection(include=("*.h5",)),
        Selection(exclude=("a",)),
        Selection(shard=Shard(1, 2)),
    ],
    ids=["include", "exclude", "shard"],
)
def test_entry_that_is_not_selected_has_not_failed(two: Two, selection: Selection) -> None:
    two.source.fail_entry(failed("from/data/a", 403, "PROPFIND"))  # in the first of two shards
    assert add(two, FileOutcomes(), selection) == []
    if selection.shard is not None:
        assert add(two, FileOutcomes(), Selection(shard=Shard(0, 2))) == ["a"]


@pytest.mark.parametrize(
    "selection", [Selection(include=("*",)), Selection(exclude=("lost", "*.h5"))]
)
def test_entry_that_the_patterns_select_has_failed(two: Two, selection: Selection) -> None:
    two.source.fail_entry(failed("from/data/a", 403, "PROPFIND"))
    assert add(two, FileOutcomes(), selection) == ["a"]


def test_entries_beyond_the_bound_fail_the_transfer(two: Two) -> None:
    for number in range(10_003):
        two.source.fail_entry(failed(f"from/data/{number}", 403, "PROPFIND"))
    outcomes = FileOutcomes()
    assert len(add(two, outcomes)) == 10_000
    assert {group.code: group.count for group in outcomes.errors} == {
        "permission_denied": 10_000,
        "storage_error": 1,
    }


def test_warnings_are_counted_and_their_paths_relative() -> None:
    record = Record()
    for number in range(7):
        record.warn("time_not_kept", f"to/deep/f{number}", "because of canary")
    record.warn("partial_left", "/remote.php/dav/uploads/alice/x", "It remains.")
    roots = {SOURCE: "from", DESTINATION: "to"}
    # Both sides share a gateway: its warnings count once.
    words = ServerWords({SOURCE: record, DESTINATION: record}, roots, Redactor(["canary"]))
    outcomes = FileOutcomes()
    words.add_to(outcomes, Selection())
    first, second = outcomes.warnings
    assert (first.code, first.count) == ("time_not_kept", 7)
    assert [sample.path for sample in first.samples] == [f"deep/f{number}" for number in range(5)]
    assert {sample.message for sample in first.samples} == {"because of [redacted]"}
    assert (second.code, second.count) == ("partial_left", 1)
    assert second.samples[0].path == "/remote.php/dav/uploads/alice/x"
