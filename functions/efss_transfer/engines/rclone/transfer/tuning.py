"""Chooses what makes a copy fast and still fits into the memory. All choices are made here.

rclone's defaults suit a desktop: four files at a time, and a hundred calls a second to a WebDAV
server, however fast it is. The copy of small files is then bound by the round trip. Measured with
2,000 files of 1 to 8 KB, 20 ms of round trip on each side: WebDAV to S3 40 s at the defaults, 3.8 s
with 64 transfers and a millisecond between calls; S3 to WebDAV 68 s and 9.6 s; a second run, which
skips all of them, 6.2 s and 0.9 s.

No check is given up for speed: S3 is still asked for the size of each upload, unless verification
asks for it; and files are compared by the same criteria. rclone's fast-list stays off, because it
holds the whole list in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from efss_transfer.engines.rclone.rc.remotes import Remote
from efss_transfer.model.result import Json, Side
from efss_transfer.model.storage_traits import MOST_PARALLEL_FILES, parallel_files, traits

MIB: Final = 1 << 20
LARGE: Final = 200 * MIB
"""From this size in bytes on a file is sent in parts (S3's default), and by several streams where
that is safe."""
MEDIUM: Final = 8 * MIB
"""From this size in bytes on a file would keep small ones waiting for a connection."""
_MOST_MEDIUM: Final = 4
_DEFAULT_TRANSFERS: Final = 4
_DEFAULT_CHECKERS: Final = 8
# How many files are in flight in all runs of this process together. More are not faster when the
# processors are busy, and each connection costs memory and time. Measured with 16 requests at once,
# of 50 small files each, on two processors: 2.5 s with 64 each, 2.0 s with 8 each; `rclone copy`,
# four each and without the egress guard, 1.5 s.
_MOST_TRANSFERS_OF_ALL_RUNS: Final = 128
_TRANSFERS_PER_PROCESSOR: Final = 64

# The part size in bytes in which rclone uploads a large file, held in memory for each part in
# flight, and how many parts it uploads at once by default.
_PARTS: Final[Mapping[str, tuple[int, int]]] = {
    "s3": (5 * MIB, 4),
    "azureblob": (4 * MIB, 16),
    "b2": (16 * MIB, 4),
    "azurefiles": (4 * MIB, 16),
    "drive": (8 * MIB, 1),
    "dropbox": (48 * MIB, 1),
    "onedrive": (10 * MIB, 1),
    "hidrive": (48 * MIB, 4),
    "sharefile": (64 * MIB, 1),
    "webdav": (10 * MIB, 1),  # Nextcloud's chunks
}
# Larger parts mean fewer round trips, and less work for both sides. Measured with 1 GiB from WebDAV
# to S3, two processors: 16 MiB take 0.96 of the time of 5 MiB, from 20 ms away 0.95. Still larger
# parts gain nothing, and a file of a few of them waits for its last one.
_LARGER_PARTS: Final[Mapping[str, int]] = {"s3": 16 * MIB}
_FILES_IN_LARGER_PARTS: Final = 8
"""Larger parts are used if at least this many files fit into the memory at a time."""
# Files that start together should arrive long before the deadline: a file that does not is copied
# again from its beginning by the next request, so many that never arrive would be no progress at
# all. This rate is assumed if the request sets none; most sites have more.
_ASSUMED_BYTES_PER_SECOND: Final = 25_000_000
_ROUNDS_BEFORE_DEADLINE: Final = 4
_TRANSFERS_OF_UNKNOWN_SIZE: Final = 16
# rclone itself, with the connections of 64 transfers: 90 MiB were measured. Garbage that Go has not
# collected yet adds up to a quarter of the memory in use.
_BASE_MEMORY: Final = 96 * MIB
_USABLE_MEMORY: Final = 0.75
_LARGEST_BUFFER: Final = 16 * MIB
# Where one connection is slow, because of a rate limit or a long round trip, several are faster by
# that factor. Where it is fast, more of them only take more processor time (measured: 1 GiB at
# 150 MB/s on two processors takes 1.10 of rclone's own time with 8, 1.04 with 4).
_MOST_STREAMS: Final = 8
_DEFAULT_STREAMS: Final = 4
_FAST_BYTES_PER_SECOND: Final = 100e6


@dataclass(frozen=True)
class LargeFiles:
    """What a probe of the source found out about its large files.

    `count` is how many it has, or None if the probe ended early; `largest` the size in bytes of
    the largest file that matters; `rate` the bytes per second of it over one connection, or None
    if large files must not be read in parts. `medium` is how many have `MEDIUM` bytes or more, if
    files of that size matter.
    """

    count: int | None
    largest: int = 0
    rate: float | None = None
    medium: int = 0

    @property
    def are_few(self) -> bool:
        """Whether small files find connections beside them."""
        return self.count is not None and self.medium <= _MOST_MEDIUM


UNKNOWN: Final = LargeFiles(None)
NOTHING_LARGE: Final = LargeFiles(0)


@dataclass(frozen=True)
class Tuning:
    """The choices. `buffer` is in bytes for each file; `streams` is the number for a large file,
    where one means that it is read as a whole.
    """

    transfers: int
    checkers: int
    buffer: int
    streams: int

    def config(self) -> dict[str, Any]:
        """`_config` of a copy."""
        return {
            "Transfers": self.transfers,
            "Checkers": self.checkers,
            "BufferSize": self.buffer,
            # Several streams corrupt a file without an error if the source ignores Range: see
            # rc/stream_rate.py.
            "MultiThreadStreams": self.streams if self.streams > 1 else 0,
            # Otherwise rclone uses the upload concurrency of S3, even if that is lower.
            "MultiThreadSet": True,
            "MultiThreadCutoff": LARGE,
        }

    def slower(self) -> Tuning:
        """A quarter of the transfers, for another attempt: the failures may have been caused by
        many at once (a server that locks a folder for each file, or that is busy).
        """
        least = min(self.transfers, _DEFAULT_TRANSFERS)
        return replace(self, transfers=max(least, self.transfers // 4))

    def to_json(self) -> dict[str, Json]:
        """The member `tuning` of a result."""
        return {
            "transfers": self.transfers,
            "checkers": self.checkers,
            "buffer_bytes": self.buffer,
            "streams": self.streams,
        }


def parameters(backend: str, memory: int, *, verified: bool = False) -> dict[str, str]:
    """The parameters of a remote of this type, besides those of the request.

    `memory` is in bytes; `verified` says that both sides are compared after the copy.
    """
    if backend == "webdav":
        # 0 would stay 0 when the server asks for a pause; 1 ms doubles up to 2 s.
        return {"pacer_min_sleep": "1ms"}
    if traits(backend).parts_in_any_order:
        part, parts_at_once = _parts(backend, memory)
        chosen = {"upload_concurrency": str(parts_at_once), "chunk_size": f"{part // MIB}Mi"}
        if backend == "s3" and verified:
            # rclone asks S3 for the size of each upload. Verification asks for all of them, with
            # one call for a thousand, and compares more.
            chosen["no_head"] = "true"
        return chosen
    return {}


@dataclass(frozen=True)
class TuningLimits:
    """The limits of what is chosen.

    `memory` in bytes is what rclone may use, `seconds` the time until the deadline, `rate` the
    bandwidth limit in bytes per second, `requested_transfers` the request's own number, and
    `allowed_transfers` the site's maximum. `concurrent_runs` is the number of runs in this
    process, this one included, which share its `processors`. `batched` are the sides whose small
    files are read or sent many in one request, so that more of them may be in flight.
    """

    memory: int
    seconds: float
    rate: int | None = None
    requested_transfers: int | None = None
    allowed_transfers: int | None = None
    concurrent_runs: int = 1
    processors: int = 1
    batched: frozenset[Side] = frozenset()

    def share_of(self, most: int) -> int:
        """`most` at a time, or less where this run has to share the processors."""
        of_all_runs = max(_MOST_TRANSFERS_OF_ALL_RUNS, _TRANSFERS_PER_PROCESSOR * self.processors)
        return min(most, max(_DEFAULT_TRANSFERS, of_all_runs // self.concurrent_runs))

    @property
    def smallest_size_that_matters(self) -> int:
        """The size in bytes from which on a file influences the choices."""
        least = MEDIUM if self.batched else LARGE
        return min(least, int(self._bytes_per_round // MOST_PARALLEL_FILES))

    def files_in_time(self, size: int) -> int:
        """How many files of that size in bytes can arrive together in time."""
        least = _DEFAULT_TRANSFERS if self.rate is None else 1
        return max(least, int(self._bytes_per_round // max(1, size)))

    @property
    def _bytes_per_round(self) -> float:
        return (self.rate or _ASSUMED_BYTES_PER_SECOND) * self.seconds / _ROUNDS_BEFORE_DEADLINE


def choose(
    source: Remote, destination: Remote, limits: TuningLimits, found: LargeFiles = UNKNOWN
) -> Tuning:
    """Choose for a copy from one remote to another."""
    transfers = _transfers(source, destination, limits, found)
    memory = _memory_for_buffers(limits.memory)
    part, parts_at_once = _parts(destination.backend, limits.memory)
    if destination.backend == "webdav" and destination.parameters.get("vendor") != "nextcloud":
        part = 0  # Other WebDAV servers receive the file as it is read.
    # How many of the files in flight are large: all of them, unless the probe knows better.
    large = transfers if found.count is None else min(transfers, found.count)
    if large and part:
        # Each file needs room for its parts, and a little to read ahead.
        fitting = max(1, memory // (part * parts_at_once + MIB))
        large = min(large, fitting)
        if found.count is None or found.count > fitting:
            transfers = min(transfers, fitting)
    streams = 1
    if found.rate is not None and large and part:
        most = _DEFAULT_STREAMS if found.rate >= _FAST_BYTES_PER_SECOND else _MOST_STREAMS
        streams = max(1, min(most, (memory - transfers * MIB) // (large * part)))
        connections = limits.share_of(min(_most_transfers(source), _most_transfers(destination)))
        streams = min(streams, max(parts_at_once, connections // large))
    left = memory - large * part * max(parts_at_once, streams)
    buffer = max(MIB // 4, min(_LARGEST_BUFFER, left // transfers))
    return Tuning(transfers, checkers(source, destination, limits), buffer, streams)


def checkers(source: Remote, destination: Remote, limits: TuningLimits) -> int:
    """How many files and folders are compared or listed at a time."""
    most = limits.share_of(min(_most_transfers(source), _most_transfers(destination)))
    if limits.allowed_transfers is not None:
        most = min(most, limits.allowed_transfers)
    return max(_DEFAULT_CHECKERS, most)


def _transfers(source: Remote, destination: Remote, limits: TuningLimits, found: LargeFiles) -> int:
    """How many files are copied at a time. The request's own number wins over everything but the
    site's maximum.
    """
    most_of_both = (
        MOST_PARALLEL_FILES if side in limits.batched and found.are_few else _most_transfers(remote)
        for side, remote in ((Side.SOURCE, source), (Side.DESTINATION, destination))
    )
    most = limits.share_of(min(most_of_both))
    if limits.requested_transfers is not None:
        transfers = limits.requested_transfers
    elif found.count is not None:
        transfers = min(most, limits.files_in_time(found.largest))
    elif limits.rate is None:
        transfers = min(most, _TRANSFERS_OF_UNKNOWN_SIZE)
    else:
        transfers = min(most, _DEFAULT_TRANSFERS)
    if limits.allowed_transfers is not None:
        transfers = min(transfers, limits.allowed_transfers)
    return transfers


def _most_transfers(remote: Remote) -> int:
    return parallel_files(remote.backend, remote.parameters.get("vendor")) or _DEFAULT_TRANSFERS


def _parts(backend: str, memory: int) -> tuple[int, int]:
    """The size in bytes of the parts in which a large file is uploaded, and how many of them are
    uploaded at once.
    """
    part, most = _PARTS.get(backend, (0, 1))
    if not traits(backend).parts_in_any_order:
        return part, most
    room = _memory_for_buffers(memory)
    larger = _LARGER_PARTS.get(backend, part)
    if room >= larger * most * _FILES_IN_LARGER_PARTS:
        return larger, most
    return part, max(
        1, min(most, (room // (parallel_files(backend) or _DEFAULT_TRANSFERS) - MIB) // part)
    )


def _memory_for_buffers(memory: int) -> int:
    return max(int(memory * _USABLE_MEMORY) - _BASE_MEMORY, 8 * MIB)
