"""What is chosen to make a copy fast fits into the memory, and is polite."""

from __future__ import annotations

import itertools

import pytest

from efss_transfer.engines.rclone.rc.remotes import Remote
from efss_transfer.engines.rclone.transfer import tuning
from efss_transfer.engines.rclone.transfer.tuning import (
    LARGE,
    MIB,
    LargeFiles,
    TuningLimits,
    chosen,
)

TYPES = ("webdav", "s3", "azureblob", "b2", "sftp", "ftp", "smb", "dropbox", "drive", "swift")
MEMORY = (256 * MIB, 352 * MIB, 864 * MIB, 2048 * MIB, 8192 * MIB)
SEEN = (
    LargeFiles(None),
    LargeFiles(0),
    *(LargeFiles(n, LARGE, rate) for n in (1, 3, 1000) for rate in (None, 1e6, 1e9)),
)


def remote(backend: str, **parameters: str) -> Remote:
    return Remote("x", backend, parameters)


@pytest.mark.parametrize("memory", MEMORY)
def test_what_large_files_hold_in_memory_is_less_than_there_is(memory: int) -> None:
    for source, destination, seen in itertools.product(TYPES, TYPES, SEEN):
        for ends in (remote(destination), remote(destination, vendor="nextcloud")):
            own = tuning.parameters(destination, memory)
            found = chosen(remote(source), ends, TuningLimits(memory, 3600), seen)
            part, parts = tuning._parts(destination, memory)
            if destination == "webdav" and "vendor" not in ends.parameters:
                part = 0
            assert own.get("upload_concurrency", str(parts)) == str(parts)
            assert own.get("chunk_size", f"{part // MIB}Mi") == f"{part // MIB}Mi"
            large = found.transfers if seen.large is None else min(found.transfers, seen.large)
            held = large * part * max(parts, found.streams) + found.transfers * found.buffer
            # A single part that is larger than all there is room for cannot be helped.
            if large > 1 or found.transfers > 1:
                assert held <= memory * 0.8 - 64 * MIB, (source, destination, seen, found)
            assert found.streams == 1 or seen.rate is not None
            assert found.transfers >= 1
            assert found.buffer >= MIB // 4


def test_a_caller_s_own_number_wins_within_the_site_s() -> None:
    ends = remote("webdav"), remote("s3")
    for wanted, most, transfers in ((None, None, 64), (3, None, 3), (30, 8, 8), (None, 8, 8)):
        bounds = TuningLimits(2048 * MIB, 3600, wanted=wanted, most=most)
        assert chosen(*ends, bounds, LargeFiles(0)).transfers == transfers


@pytest.mark.parametrize(
    ("beside", "processors", "transfers"),
    [
        (1, 1, 64),
        (2, 1, 64),
        (3, 2, 42),
        (4, 2, 32),
        (16, 2, 8),
        (100, 2, 4),
        (4, 4, 64),
        (16, 32, 64),
    ],
)
def test_copies_at_the_same_time_share_what_is_of_use(
    beside: int, processors: int, transfers: int
) -> None:
    stores = remote("webdav"), remote("s3")
    bounds = TuningLimits(2048 * MIB, 3600, beside=beside, processors=processors)
    found = chosen(*stores, bounds, LargeFiles(0))
    assert found.transfers == transfers
    assert found.checkers == max(8, transfers)
    # Where fewer are polite, these are enough for a while.
    people = remote("webdav", vendor="nextcloud"), remote("s3")
    assert chosen(*people, bounds, LargeFiles(0)).transfers == min(16, transfers)
    wanted = TuningLimits(2048 * MIB, 3600, wanted=50, beside=beside, processors=processors)
    assert chosen(*stores, wanted, LargeFiles(0)).transfers == 50


@pytest.mark.parametrize(
    ("ends", "most"),
    [
        ((remote("webdav"), remote("s3")), 64),
        ((remote("webdav", vendor="nextcloud"), remote("s3")), 16),
        ((remote("s3"), remote("webdav", vendor="owncloud")), 16),
        ((remote("s3"), remote("sftp")), 8),
        ((remote("ftp"), remote("s3")), 4),
        ((remote("drive"), remote("s3")), 4),
    ],
    ids=["stores", "nextcloud", "owncloud", "sftp", "ftp", "drive"],
)
def test_both_ends_are_treated_as_they_can_take(ends: tuple[Remote, Remote], most: int) -> None:
    found = chosen(*ends, TuningLimits(2048 * MIB, 3600), LargeFiles(0))
    assert found.transfers == most
    assert found.checkers == max(8, most)


@pytest.mark.parametrize(
    ("memory", "part", "at_once", "transfers"),
    [(256, 5, 1, 16), (352, 5, 1, 28), (800, 5, 1, 64), (864, 16, 4, 8), (2048, 16, 4, 22)],
)
def test_s3_is_sent_larger_parts_where_several_files_of_them_fit(
    memory: int, part: int, at_once: int, transfers: int
) -> None:
    wanted = {"chunk_size": f"{part}Mi", "upload_concurrency": str(at_once)}
    assert tuning.parameters("s3", memory * MIB) == wanted
    ends, bounds = (remote("webdav"), remote("s3")), TuningLimits(memory * MIB, 3600)
    # Many large ones are then fewer at a time.
    assert chosen(*ends, bounds, LargeFiles(1000, LARGE)).transfers == transfers


def test_one_large_file_is_read_in_several_parts_only_where_that_was_shown() -> None:
    ends = remote("webdav"), remote("s3")
    bounds = TuningLimits(2048 * MIB, 3600)
    assert chosen(*ends, bounds, LargeFiles(1, LARGE, 20e6)).streams == 8
    # More than rclone's own number takes only more processor time where one is fast.
    assert chosen(*ends, bounds, LargeFiles(1, LARGE, 200e6)).streams == 4
    assert chosen(*ends, bounds, LargeFiles(1, LARGE)).streams == 1
    assert chosen(*ends, bounds).config()["MultiThreadStreams"] == 0


@pytest.mark.parametrize(
    ("seconds", "rate", "largest", "transfers"),
    [
        (3600, None, 0, 64),
        (900, None, 1 << 30, 5),
        (900, None, 1 << 40, 4),  # as rclone has it by itself
        (4, 1_000_000, 250_000, 4),
        (4, 1_000_000, 100_000_000, 1),
    ],
    ids=["small", "GiB", "TiB", "limited", "limited-large"],
)
def test_no_more_is_begun_than_can_arrive_in_time(
    seconds: float, rate: int | None, largest: int, transfers: int
) -> None:
    ends, bounds = (remote("webdav"), remote("s3")), TuningLimits(2048 * MIB, seconds, rate)
    assert chosen(*ends, bounds, LargeFiles(1, largest)).transfers == transfers
    assert largest == 0 or largest >= bounds.matters


def test_another_attempt_asks_for_less_at_a_time() -> None:
    found = chosen(remote("webdav"), remote("s3"), TuningLimits(2048 * MIB, 3600), LargeFiles(0))
    counts = []
    for _ in range(4):
        counts.append(found.transfers)
        found = found.calmer()
    assert counts == [64, 16, 4, 4]
    few = chosen(
        remote("ftp"), remote("s3"), TuningLimits(2048 * MIB, 3600, wanted=2), LargeFiles(0)
    )
    assert few.calmer().transfers == 2


def test_what_is_not_known_is_taken_for_middling() -> None:
    ends = remote("webdav"), remote("s3")
    assert chosen(*ends, TuningLimits(2048 * MIB, 3600)).transfers == 16
    assert chosen(*ends, TuningLimits(2048 * MIB, 3600, rate=1_000_000)).transfers == 4


def test_the_pause_between_webdav_s_calls_is_short_and_never_none() -> None:
    # At 0 it stays 0 when the server asks for a pause (rclone-facts.md, "Speed").
    assert tuning.parameters("webdav", 2048 * MIB) == {"pacer_min_sleep": "1ms"}
