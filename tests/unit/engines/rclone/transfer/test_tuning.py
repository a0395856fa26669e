"""The tuning of a copy fits into the memory, and suits both storages."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from efss_transfer.engines.rclone.rc.remotes import Remote
from efss_transfer.engines.rclone.transfer import tuning
from efss_transfer.engines.rclone.transfer.tuning import (
    LARGE,
    MEDIUM,
    MIB,
    LargeFiles,
    TuningLimits,
    choose,
)
from efss_transfer.model.result import Side

TYPES = ("webdav", "s3", "azureblob", "b2", "sftp", "ftp", "smb", "dropbox", "drive", "swift")
MEMORY = (256 * MIB, 352 * MIB, 864 * MIB, 2048 * MIB, 8192 * MIB)
LARGE_FILES = (
    LargeFiles(None),
    LargeFiles(0),
    *(LargeFiles(n, LARGE, rate) for n in (1, 3, 1000) for rate in (None, 1e6, 1e9)),
)


def remote(backend: str, **parameters: str) -> Remote:
    return Remote("x", backend, parameters)


@pytest.mark.parametrize("memory", MEMORY)
def test_buffers_and_parts_fit_into_memory(memory: int) -> None:
    for source, destination, large_files in itertools.product(TYPES, TYPES, LARGE_FILES):
        for ends in (remote(destination), remote(destination, vendor="nextcloud")):
            own = tuning.parameters(destination, memory)
            found = choose(remote(source), ends, TuningLimits(memory, 3600), large_files)
            part, parts = tuning._parts(destination, memory)
            if destination == "webdav" and "vendor" not in ends.parameters:
                part = 0
            assert own.get("upload_concurrency", str(parts)) == str(parts)
            assert own.get("chunk_size", f"{part // MIB}Mi") == f"{part // MIB}Mi"
            count = large_files.count
            large = found.transfers if count is None else min(found.transfers, count)
            held = large * part * max(parts, found.streams) + found.transfers * found.buffer
            # One part may be larger than the memory for buffers.
            if large > 1 or found.transfers > 1:
                assert held <= memory * 0.8 - 64 * MIB, (source, destination, large_files, found)
            assert found.streams == 1 or large_files.rate is not None
            assert found.transfers >= 1
            assert found.buffer >= MIB // 4


def test_requested_transfers_win_up_to_allowed_transfers() -> None:
    ends = remote("webdav"), remote("s3")
    for wanted, most, transfers in ((None, None, 64), (3, None, 3), (30, 8, 8), (None, 8, 8)):
        limits = TuningLimits(2048 * MIB, 3600, requested_transfers=wanted, allowed_transfers=most)
        assert choose(*ends, limits, LargeFiles(0)).transfers == transfers


@pytest.mark.parametrize(
    ("concurrent_runs", "processors", "transfers"),
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
def test_concurrent_runs_share_transfers(
    concurrent_runs: int, processors: int, transfers: int
) -> None:
    stores = remote("webdav"), remote("s3")
    limits = TuningLimits(2048 * MIB, 3600, concurrent_runs=concurrent_runs, processors=processors)
    found = choose(*stores, limits, LargeFiles(0))
    assert found.transfers == transfers
    assert found.checkers == max(8, transfers)
    # A server for people takes 16 at most, so sharing starts later.
    interactive = remote("webdav", vendor="nextcloud"), remote("s3")
    assert choose(*interactive, limits, LargeFiles(0)).transfers == min(16, transfers)
    wanted = TuningLimits(
        2048 * MIB,
        3600,
        requested_transfers=50,
        concurrent_runs=concurrent_runs,
        processors=processors,
    )
    assert choose(*stores, wanted, LargeFiles(0)).transfers == 50


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
def test_transfers_suit_weaker_storage(ends: tuple[Remote, Remote], most: int) -> None:
    found = choose(*ends, TuningLimits(2048 * MIB, 3600), LargeFiles(0))
    assert found.transfers == most
    assert found.checkers == max(8, most)


@pytest.mark.parametrize(
    ("memory", "part", "at_once", "transfers"),
    [(256, 5, 1, 16), (352, 5, 1, 28), (800, 5, 1, 64), (864, 16, 4, 8), (2048, 16, 4, 22)],
)
def test_s3_parts_are_larger_if_eight_files_fit_into_memory(
    memory: int, part: int, at_once: int, transfers: int
) -> None:
    wanted = {"chunk_size": f"{part}Mi", "upload_concurrency": str(at_once)}
    assert tuning.parameters("s3", memory * MIB) == wanted
    ends, limits = (remote("webdav"), remote("s3")), TuningLimits(memory * MIB, 3600)
    # Fewer large files then fit at a time.
    assert choose(*ends, limits, LargeFiles(1000, LARGE)).transfers == transfers


def test_streams_are_used_only_if_probe_measured_rate() -> None:
    ends = remote("webdav"), remote("s3")
    limits = TuningLimits(2048 * MIB, 3600)
    assert choose(*ends, limits, LargeFiles(1, LARGE, 20e6)).streams == 8
    # On a fast connection more than rclone's own number only takes more processor time.
    assert choose(*ends, limits, LargeFiles(1, LARGE, 200e6)).streams == 4
    assert choose(*ends, limits, LargeFiles(1, LARGE)).streams == 1
    assert choose(*ends, limits).config()["MultiThreadStreams"] == 0


@pytest.mark.parametrize(
    ("seconds", "rate", "largest", "transfers"),
    [
        (3600, None, 0, 64),
        (900, None, 1 << 30, 5),
        (900, None, 1 << 40, 4),  # rclone's default
        (4, 1_000_000, 250_000, 4),
        (4, 1_000_000, 100_000_000, 1),
    ],
    ids=["small", "GiB", "TiB", "limited", "limited-large"],
)
def test_transfers_are_no_more_than_arrive_in_time(
    seconds: float, rate: int | None, largest: int, transfers: int
) -> None:
    ends, limits = (remote("webdav"), remote("s3")), TuningLimits(2048 * MIB, seconds, rate)
    assert choose(*ends, limits, LargeFiles(1, largest)).transfers == transfers
    assert largest == 0 or largest >= limits.smallest_size_that_matters


def test_each_attempt_has_quarter_of_transfers_down_to_default() -> None:
    found = choose(remote("webdav"), remote("s3"), TuningLimits(2048 * MIB, 3600), LargeFiles(0))
    counts = []
    for _ in range(4):
        counts.append(found.transfers)
        found = found.slower()
    assert counts == [64, 16, 4, 4]
    few = choose(
        remote("ftp"),
        remote("s3"),
        TuningLimits(2048 * MIB, 3600, requested_transfers=2),
        LargeFiles(0),
    )
    assert few.slower().transfers == 2


BOTH = frozenset(Side)


@pytest.mark.parametrize(
    ("batched", "found", "transfers"),
    [
        (BOTH, LargeFiles(0), 64),
        (frozenset({Side.SOURCE}), LargeFiles(0), 16),
        (frozenset(), LargeFiles(0), 16),
        (BOTH, LargeFiles(0, MEDIUM, medium=4), 64),
        (BOTH, LargeFiles(0, MEDIUM, medium=5), 16),
        (BOTH, LargeFiles(None), 16),
    ],
    ids=["both", "one", "none", "few large", "many large", "unknown"],
)
def test_small_files_that_share_requests_are_more_at_a_time(
    batched: frozenset[Side], found: LargeFiles, transfers: int
) -> None:
    ends = remote("webdav", vendor="nextcloud"), remote("webdav", vendor="nextcloud")
    limits = TuningLimits(448 * MIB, 840, batched=batched)
    chosen = choose(*ends, limits, found)
    assert (chosen.transfers, chosen.checkers) == (transfers, 16)
    assert chosen.transfers * chosen.buffer <= 240 * MIB
    up = replace(limits, batched=batched - {Side.SOURCE})
    assert choose(remote("ftp"), ends[1], up, found).transfers == 4
    named = TuningLimits(448 * MIB, 840, requested_transfers=7, batched=batched)
    assert choose(*ends, named, found).transfers == 7
    # Without them only files matter of which few arrive before the deadline.
    least = limits.smallest_size_that_matters
    assert least == (MEDIUM if batched else 840 * 25_000_000 // 4 // 64)


def test_unknown_sizes_get_medium_transfers() -> None:
    ends = remote("webdav"), remote("s3")
    assert choose(*ends, TuningLimits(2048 * MIB, 3600)).transfers == 16
    assert choose(*ends, TuningLimits(2048 * MIB, 3600, rate=1_000_000)).transfers == 4


def test_webdav_pacer_is_short_and_never_zero() -> None:
    # At 0 it stays 0 when the server asks for a pause.
    assert tuning.parameters("webdav", 2048 * MIB) == {"pacer_min_sleep": "1ms"}
