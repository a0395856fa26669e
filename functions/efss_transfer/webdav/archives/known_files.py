"""What the listings say of small files, in 42 bytes each: their sizes, checksums and ETags.

Any of it may be dropped at any time; then a file is read by itself.
"""

from __future__ import annotations

import hashlib
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.webdav.archives.folder_names import ArrivingNames, FolderNames
from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments

LARGEST: Final = 1 << 17
"""Largest file that is read with others: as large as those that go in bulk uploads."""

_NAME: Final = 8
_SIZE: Final = 5
_DIGEST: Final = 20
_ETAG: Final = 8
_ALL: Final = _NAME + _SIZE + 1 + _DIGEST + _ETAG
_ALGORITHMS: Final = ("", "sha1", "sha256", "md5")
_NONE: Final = bytes(_DIGEST)
# Memory of a record while its listing arrives: an object of its own, and its place in a list.
_ARRIVING: Final = 80


@dataclass(frozen=True, slots=True)
class KnownFile:
    """Size, checksum and ETag of a file, the ETag as its hash. `algorithm` is empty for a file
    without a checksum.
    """

    size: int
    algorithm: str
    digest: bytes
    etag: bytes = field(default=b"", kw_only=True)

    def is_content(self, data: bytes) -> bool:
        """Return whether a file of this listing may have such bytes."""
        if len(data) != self.size:
            return False
        return not self.algorithm or _digest(self.algorithm, data) == self.digest


class KnownFolder:
    """Small files of one folder, while its listing arrives: none if there are more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.names = ArrivingNames()
        self._records: list[bytes] = []

    def add(self, name: str, entry: Entry) -> None:
        """Add a file, if it is small and its listing has nothing that cannot be checked."""
        record = _record(name, entry) if self._most else None
        if record is None:
            self.names.add_other()
            return
        self._records.append(record)
        if may_be_named(name):
            self.names.add(name, int.from_bytes(record[_NAME : _NAME + _SIZE]))
        else:
            self.names.add_other()
        if len(self._records) > self._most:
            self._records, self._most = [], 0
            self.names.add_other()

    def __len__(self) -> int:
        return len(self._records)

    def packed(self) -> bytes:
        """Join the records, in the order of their names' hashes."""
        return b"".join(sorted(self._records))


class KnownFiles:
    """The small files that were listed, in about `room` bytes, and `room_for_names` for names."""

    def __init__(self, room: int, room_for_names: int = 0) -> None:
        self.names = FolderNames(room_for_names)
        self._folders: Recent[bytes] = Recent(room)
        self._most_of_folder = room // _ARRIVING

    def arriving(self) -> KnownFolder:
        """Return a folder whose listing begins to arrive."""
        return KnownFolder(self._most_of_folder)

    def put(self, folder: Segments, listed: KnownFolder) -> None:
        """Keep what a listing of a folder said, in place of what an earlier one did."""
        self._folders.pop(key(folder))
        self.names.put(folder, listed.names)
        if packed := listed.packed():
            self._folders.put(key(folder), packed)

    def find(self, path: Segments) -> KnownFile | None:
        """Return what was listed; None for a large file, or an unknown one."""
        packed = self._folders.get(key(path[:-1]))
        if packed is None or not path:
            return None
        record = find_record(packed, _ALL, path[-1])
        return None if record is None else _read(record)

    def clear(self) -> None:
        """Forget all."""
        self._folders.clear()
        self.names.clear()


def may_be_named(name: str) -> bool:
    """Return whether a request can name a file so that its entry has the same name."""
    return name.isprintable() and "\\" not in name and unicodedata.is_normalized("NFC", name)


def find_record(packed: bytes, size: int, name: str, start: int = 0) -> bytes | None:
    """Find the record of a name among those of one size, which are in the order of the hashes."""
    hashed = hash_of(name)

    def hash_at(at: int) -> bytes:
        return packed[at : at + _NAME]

    places = range(start, len(packed), size)
    index = bisect_left(places, hashed, key=hash_at)
    at = start + index * size
    record = packed[at : at + size]
    return record if record.startswith(hashed) else None


def hash_of(name: str) -> bytes:
    """Return the hash with which a record of a file begins."""
    raw = name.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=_NAME, usedforsecurity=False).digest()


def _digest(algorithm: str, data: bytes) -> bytes:
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()[:_DIGEST].ljust(_DIGEST)


def _record(name: str, entry: Entry) -> bytes | None:
    size = entry.length
    if not isinstance(size, int) or size > LARGEST or entry.failure is not None:
        return None
    found = _checksum(entry.checksums)
    if found is None:
        return None
    algorithm, digest = found
    etag = hash_of(entry.get("getetag") or "")
    return hash_of(name) + size.to_bytes(_SIZE) + bytes([algorithm]) + digest + etag


def _checksum(checksums: tuple[str, ...]) -> tuple[int, bytes] | None:
    """Return the best of the checksums; None if there are only such as cannot be computed here."""
    known = {}
    for one in checksums:
        algorithm, _, text = one.partition(":")
        known[algorithm.lower()] = text
    for index, algorithm in enumerate(_ALGORITHMS):
        if (text := known.get(algorithm, "")) and algorithm:
            try:
                return index, bytes.fromhex(text)[:_DIGEST].ljust(_DIGEST)
            except ValueError:
                return None
    return None if known else (0, _NONE)


def _read(record: bytes) -> KnownFile:
    size = int.from_bytes(record[_NAME : _NAME + _SIZE])
    algorithm = _ALGORITHMS[record[_NAME + _SIZE]]
    return KnownFile(size, algorithm, record[-_DIGEST - _ETAG : -_ETAG], etag=record[-_ETAG:])
