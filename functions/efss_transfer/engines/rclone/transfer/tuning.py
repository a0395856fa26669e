"""How a copy is made fast, and still fits: all that is chosen, in one place.

rclone's defaults are made for a desktop: four files at a time, and a WebDAV server is asked
a hundred times a second, however fast it is. Small files are then bound by the round trip.
Measured with 2,000 files of 1 to 8 KB, 20 ms of round trip on each side: WebDAV to S3 40 s
at the defaults, 3.8 s with 64 transfers and a millisecond between calls; S3 to WebDAV 68 s
and 9.6 s; looking at all of them once more 6.2 s and 0.9 s.

Nothing is gained by giving up a check: S3 is still asked for what it stored, unless it is
asked for that by the verification; and files are compared by what they were compared by.
Listing all at once (rclone's fast-list) is left alone: it holds the whole list in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from efss_transfer.engines.rclone.rc.remotes import Remote
from efss_transfer.model.result import Json

MIB: Final = 1 << 20
LARGE: Final = 200 * MIB
"""From this size on a file is sent in parts, by S3's default, and by several streams where
that is safe."""
CHUNKED: Final = frozenset({"s3", "azureblob", "b2"})
"""Types that take the parts of a file in any order, and so from several streams."""

# How many files at a time are polite. Object stores are made for many. What serves people,
# too, has few workers (Nextcloud's and ownCloud's PHP), sshd refuses connections that are
# opened many at once (MaxStartups), and FTP servers count them. The others count calls, and
# keep rclone's own number.
_POLITE: Final = {
    "azureblob": 64,
    "b2": 32,
    "google cloud storage": 64,
    "http": 32,
    "s3": 64,
    "swift": 32,
    "webdav": 64,
    "sftp": 8,
    "smb": 8,
    "seafile": 8,
}
_BUSY_WITH_PEOPLE: Final = frozenset({"nextcloud", "owncloud", "infinitescale"})
_BESIDE_PEOPLE: Final = 16
_OF_RCLONE: Final = 4
# How many files are on their way in all transfers of this process together. More do not come
# faster where the processors have no time for them, and each connection costs some. Measured
# with 16 requests at once, of 50 small files each, on two processors: 2.5 s with 64 each,
# 2.0 s with 8 each; `rclone copy`, four each and no guard, 1.5 s.
_IN_ALL: Final = 128
_FOR_A_PROCESSOR: Final = 64
_CHECKERS_OF_RCLONE: Final = 8

# What an upload of a large file to a type holds in memory, for each part that is on its way,
# and how many of them rclone sends at once by default.
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
# Larger ones are fewer round trips, and less work for both ends. Measured with 1 GiB from WebDAV
# to S3, two processors: with 16 MiB 0.96 of the time with 5 MiB, from 20 ms away 0.95. Still
# larger ones gain nothing, and a file of a few of them waits for its last.
_LARGER_PARTS: Final[Mapping[str, int]] = {"s3": 16 * MIB}
_FILES_IN_LARGER_PARTS: Final = 8
"""There must be room for at least so many files at a time."""
# What is begun at the same time should have arrived long before the time is up: what has not
# is begun anew by the next request, and many files that never arrive are no progress at all.
# The rate is assumed where the caller gives none; most sites have more.
_BYTES_A_SECOND: Final = 25_000_000
_ROUNDS: Final = 4
_UNSEEN: Final = 16
"""How many files at a time where their sizes are not known."""
# rclone's own need, with the connections of 64 transfers: 90 MiB were measured. What Go has
# not collected yet takes up to a quarter more than what is in use.
_BASE: Final = 96 * MIB
_IN_USE: Final = 0.75
_LARGEST_BUFFER: Final = 16 * MIB
# Where one connection is slow, by a limit or by the way that it has to go, several are faster
# by as much. Where it is fast, more of them only take more processor time (measured: 1 GiB at
# 150 MB/s on two processors takes 1.10 of rclone's own time with 8, 1.04 with 4).
_MOST_STREAMS: Final = 8
_STREAMS_OF_RCLONE: Final = 4
_FAST: Final = 100e6


@dataclass(frozen=True)
class LargeFiles:
    """What a look at the source has shown of its large files: how many there are, or None
    if the look was ended before it was over; how many bytes the largest file has that
    matters; and how many bytes a second of it come by one connection, or None if the large
    ones must not be read in parts.
    """

    large: int | None
    largest: int = 0
    rate: float | None = None


UNSEEN: Final = LargeFiles(None)
NOTHING_LARGE: Final = LargeFiles(0)


@dataclass(frozen=True)
class Tuning:
    """What was chosen. `buffer` is in bytes, for each file; `streams` are those of a large
    file, and one of them is what rclone calls none.
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
            # Several streams for one file corrupt it, without an error, where the source
            # ignores Range (rclone-facts.md, "Data corruption"): see ranges.py.
            "MultiThreadStreams": self.streams if self.streams > 1 else 0,
            # Without this the number that S3 sends at once is taken, be it lower.
            "MultiThreadSet": True,
            "MultiThreadCutoff": LARGE,
        }

    def calmer(self) -> Tuning:
        """For another attempt: what failed may have failed of so many at once (a server that
        locks a folder for each file, or that is busy).
        """
        return replace(self, transfers=max(min(self.transfers, _OF_RCLONE), self.transfers // 4))

    def to_json(self) -> dict[str, Json]:
        """As it stands in a result."""
        return {
            "transfers": self.transfers,
            "checkers": self.checkers,
            "buffer_bytes": self.buffer,
            "streams": self.streams,
        }


def parameters(backend: str, memory: int, *, verified: bool = False) -> dict[str, str]:
    """What a remote of this type is given besides what the request says of it.

    `verified` says that both sides are compared after the copy.
    """
    if backend == "webdav":
        # At 0 it would stay 0 when the server asks for a pause; from 1 ms it doubles up to 2 s.
        return {"pacer_min_sleep": "1ms"}
    if backend in CHUNKED:
        part, at_once = _parts(backend, memory)
        chosen_parts = {"upload_concurrency": str(at_once), "chunk_size": f"{part // MIB}Mi"}
        if backend == "s3" and verified:
            # rclone asks S3 after each upload how long it is now. Verification asks that of
            # all of them, by one call for a thousand, and compares more.
            chosen_parts["no_head"] = "true"
        return chosen_parts
    return {}


@dataclass(frozen=True)
class TuningLimits:
    """Within what is chosen: the memory that rclone may take, in bytes; the time that there
    is, in seconds; the bytes a second, the caller's own number of transfers, and the site's,
    each if there is one. `beside` is how many copies are made here at the same time, with
    this one, and `processors` what they have together.
    """

    memory: int
    seconds: float
    rate: int | None = None
    wanted: int | None = None
    most: int | None = None
    beside: int = 1
    processors: int = 1

    def shared(self, polite: int) -> int:
        """As many at a time as are polite, or this copy's share of what is of use here."""
        in_all = max(_IN_ALL, _FOR_A_PROCESSOR * self.processors)
        return min(polite, max(_OF_RCLONE, in_all // self.beside))

    @property
    def matters(self) -> int:
        """From how many bytes on the size of a file has a say in what is chosen."""
        return min(LARGE, int(self._in_time // max(_POLITE.values())))

    def arriving(self, largest: int) -> int:
        """How many files of that size can arrive together while there is time."""
        least = _OF_RCLONE if self.rate is None else 1
        return max(least, int(self._in_time // max(1, largest)))

    @property
    def _in_time(self) -> float:
        return (self.rate or _BYTES_A_SECOND) * self.seconds / _ROUNDS


def chosen(
    source: Remote, destination: Remote, bounds: TuningLimits, seen: LargeFiles = UNSEEN
) -> Tuning:
    """Choose for a copy from one remote to another. The caller's own number of transfers
    wins, unless the site allows fewer.
    """
    polite = bounds.shared(min(_polite(source), _polite(destination)))
    backend, memory = destination.backend, bounds.memory
    if bounds.wanted is not None:
        transfers = bounds.wanted
    elif seen.large is None:
        transfers = min(polite, _UNSEEN if bounds.rate is None else _OF_RCLONE)
    else:
        transfers = min(polite, bounds.arriving(seen.largest))
    if bounds.most is not None:
        transfers = min(transfers, bounds.most)
    room = _room(memory)
    part, at_once = _parts(backend, memory)
    if backend == "webdav" and destination.parameters.get("vendor") != "nextcloud":
        part = 0  # it is sent as it is read
    # How many are large at the same time: all of them, unless it is known better.
    large = transfers if seen.large is None else min(transfers, seen.large)
    if large and part:
        # Each has to have room for a part, and a little for what is read ahead.
        fitting = max(1, room // (part * at_once + MIB))
        large = min(large, fitting)
        if seen.large is None or seen.large > fitting:
            transfers = min(transfers, fitting)
    streams = 1
    if seen.rate is not None and large and part:
        most = _STREAMS_OF_RCLONE if seen.rate >= _FAST else _MOST_STREAMS
        streams = max(1, min(most, (room - transfers * MIB) // (large * part)))
        streams = min(streams, max(at_once, polite // large))
    left = room - large * part * max(at_once, streams)
    buffer = max(MIB // 4, min(_LARGEST_BUFFER, left // transfers))
    checkers = checking(source, destination, bounds)
    return Tuning(transfers, checkers, buffer, streams)


def checking(source: Remote, destination: Remote, bounds: TuningLimits) -> int:
    """How many files and folders to look at at a time."""
    polite = bounds.shared(min(_polite(source), _polite(destination)))
    return max(_CHECKERS_OF_RCLONE, polite if bounds.most is None else min(polite, bounds.most))


def _parts(backend: str, memory: int) -> tuple[int, int]:
    """How many bytes the parts have in which a type is sent a large file, and how many are
    sent at once.
    """
    part, most = _PARTS.get(backend, (0, 1))
    if backend not in CHUNKED:
        return part, most
    room = _room(memory)
    larger = _LARGER_PARTS.get(backend, part)
    if room >= larger * most * _FILES_IN_LARGER_PARTS:
        return larger, most
    return part, max(1, min(most, (room // _POLITE[backend] - MIB) // part))


def _polite(remote: Remote) -> int:
    if remote.parameters.get("vendor") in _BUSY_WITH_PEOPLE:
        return _BESIDE_PEOPLE
    return _POLITE.get(remote.backend, _OF_RCLONE)


def _room(memory: int) -> int:
    """For buffers, of what rclone may take."""
    return max(int(memory * _IN_USE) - _BASE, 8 * MIB)
