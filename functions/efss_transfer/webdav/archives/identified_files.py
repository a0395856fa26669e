"""What the listings of oCIS say of small files: besides size and SHA-1 the id, in 24 bytes more.

An id is that of the space, which the files of a folder have in common, and a UUID.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from efss_transfer.webdav.archives.known_files import (
    KnownFile,
    KnownFiles,
    KnownFolder,
    find_record,
    hash_of,
)
from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.multistatus import OWNCLOUD, Entry
from efss_transfer.webdav.paths import Segments

_ID: Final = re.compile(
    r"([!-~]{1,200}!)([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})"
)
_NAME: Final = 8
_ALL: Final = _NAME + 16
_OF_A_FILE: Final = 34
_SHA1: Final = "sha1"


@dataclass(frozen=True, slots=True)
class IdentifiedFile(KnownFile):
    """Size, SHA-1 and id of a file."""

    file_id: str


class IdentifiedFolder(KnownFolder):
    """Small files of one folder with their ids, while its listing arrives."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._space = ""
        self._ids: list[bytes] = []

    def add(self, name: str, entry: Entry) -> None:
        """Add a file, if it has an id in the space of the first one."""
        found = _ID.fullmatch(entry.get("fileid", OWNCLOUD) or "")
        if found is None or self._space not in ("", found[1]):
            return
        before = len(self)
        super().add(name, entry)
        if len(self) > before:
            self._space = found[1]
            self._ids.append(hash_of(name) + bytes.fromhex("".join(found.groups()[1:])))
        elif len(self) < before:
            self._ids.clear()

    def packed_ids(self) -> bytes:
        """Join the ids, in the order of their names' hashes, after the space that all are in."""
        space = self._space.encode("ascii")
        return bytes([len(space)]) + space + b"".join(sorted(self._ids)) if self._ids else b""


class IdentifiedFiles(KnownFiles):
    """The small files that were listed with their ids, in about `room` bytes."""

    def __init__(self, room: int) -> None:
        of_files = room * _OF_A_FILE // (_OF_A_FILE + _ALL)
        super().__init__(of_files)
        self._ids: Recent[bytes] = Recent(room - of_files)

    def arriving(self) -> KnownFolder:
        """Return a folder whose listing begins to arrive."""
        return IdentifiedFolder(self._most_of_folder)

    def put(self, folder: Segments, listed: KnownFolder) -> None:
        """Keep what a listing of a folder said, in place of what an earlier one did."""
        super().put(folder, listed)
        self._ids.pop(key(folder))
        if isinstance(listed, IdentifiedFolder) and (packed := listed.packed_ids()):
            self._ids.put(key(folder), packed)

    def find(self, path: Segments) -> IdentifiedFile | None:
        """Return what was listed; None for a large file, an unknown one, or one without SHA-1."""
        file = super().find(path)
        packed = self._ids.get(key(path[:-1]))
        if file is None or file.algorithm != _SHA1 or packed is None:
            return None
        start = 1 + packed[0]
        record = find_record(packed, _ALL, path[-1], start)
        if record is None:
            return None
        uuid = record[_NAME:].hex()
        parts = uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]
        file_id = packed[1:start].decode("ascii") + "-".join(parts)
        return IdentifiedFile(file.size, file.algorithm, file.digest, file_id)

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self._ids.clear()
