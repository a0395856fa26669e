"""Which lines of a copy say that checksums differ, and when that is settled apart."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.log.mismatches import Mismatches
from efss_transfer.model.result import Failure

FAILURE = Failure("checksum_mismatch", "differs", retryable=True)
ONE, OTHER = "0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"


def differ(ours: str = ONE, theirs: str = OTHER) -> str:
    ends = f'src(S3 bucket a) "{ours}" vs dst(S3 bucket b) "{theirs}"'
    return f"corrupted on transfer: md5 hashes differ {ends}"


def take(found: Mismatches, text: str, path: str = "f", *, is_stopping: bool = False) -> bool:
    return found.take_failure(path, text, lambda: FAILURE, is_stopping=is_stopping)


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        (differ(), True),
        (differ("", OTHER), True),
        ("StatusCode: 400, api error BadDigest: The Content-MD5 you specified did not match", True),
        ("The computed checksum does not match the one received from the client.", True),
        ("corrupted on transfer: sizes differ src(S3 bucket a) 5 vs dst(S3 bucket b) 4", False),
        ("error reading source root directory: EOF", False),
    ],
)
def test_failure_is_settled_apart_if_checksums_differ(text: str, *, is_taken: bool) -> None:
    assert take(Mismatches(), text) is is_taken


def test_checksums_are_those_of_the_line() -> None:
    found = Mismatches()
    take(found, differ())
    [mismatch] = found.take()
    assert (mismatch.hash_type, mismatch.at_source, mismatch.at_destination) == ("md5", ONE, OTHER)
    assert not found.paths


def test_file_fails_once_another_has_the_same_checksum_on_both_sides() -> None:
    found = Mismatches()
    assert found.take_line(f"md5 = {ONE} OK", "g")
    assert not take(found, differ())


def test_right_checksum_of_an_empty_file_says_nothing() -> None:
    found = Mismatches()
    assert found.take_line("md5 = d41d8cd98f00b204e9800998ecf8427e OK", "empty")
    assert take(found, differ())


def test_three_files_are_enough_to_look_at_the_checksums() -> None:
    found = Mismatches()
    for path in ("a", "b"):
        take(found, differ(), path)
    assert not found.are_enough
    take(found, differ(), "c")
    assert found.are_enough


def test_file_fails_once_the_checksums_are_settled_until_the_next_attempt() -> None:
    found = Mismatches()
    found.settle()
    assert not take(found, differ())
    found.begin_attempt()
    assert take(found, differ())


def test_comparison_that_a_stop_cuts_off_is_no_failure() -> None:
    found = Mismatches()
    assert take(found, differ("", ""), is_stopping=True)
    assert not found.paths
    assert take(found, differ(), is_stopping=True)
    assert found.paths


def test_copy_that_could_not_be_removed_is_kept_in_mind() -> None:
    found = Mismatches()
    assert found.take_line("Failed to remove failed copy: context canceled", "f")
    assert found.unremoved == {"f"}


def test_missing_checksum_is_no_error_of_its_own() -> None:
    assert Mismatches().take_error("Failed to calculate dst hash: failed to run md5sum")
    assert not Mismatches().take_error("Failed to copy: EOF")
