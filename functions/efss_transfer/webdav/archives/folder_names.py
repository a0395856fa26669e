"""The names of the small files of listed folders, and whether a folder has nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.paths import Segments

_MOST_NAMES: Final = 5000
"""A folder of more files is never read ahead: its names alone would be too many to keep."""


@dataclass(frozen=True, slots=True)
class NamedFolder:
    """Names of a folder's small files, in the order in which the engine asks for them, and of its
    folders. `is_whole` says that it has nothing else; `size` is that of the files in bytes.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    size: int
    is_whole: bool


class ArrivingNames:
    """Names of one folder, while its listing arrives."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._folders: set[str] = set()
        self._size = 0
        self._is_whole = True

    def add(self, name: str, size: int) -> None:
        """Add a small file."""
        # The server lists it twice: one of the two is something else.
        self._is_whole = self._is_whole and name not in self._names
        if len(self._names) < _MOST_NAMES:
            self._names.add(name)
            self._size += size
        else:
            self.add_other()

    def add_folder(self, name: str) -> None:
        """Add a folder."""
        if len(self._folders) < _MOST_NAMES:
            self._folders.add(name)
        else:
            self.add_other()

    def add_other(self) -> None:
        """Note what nobody will ask for, or what is no small file."""
        self._is_whole = False

    def packed(self) -> bytes:
        """Join what is known, the names in the order of their bytes, as rclone sorts them."""
        kept = sorted(self._names), sorted(self._folders), self._size, self._is_whole
        return json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")


class FolderNames:
    """Names of the folders that were listed, in about `room` bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._folders: Recent[bytes] = Recent(room)

    def put(self, folder: Segments, arrived: ArrivingNames) -> None:
        """Keep what a listing said, in place of what an earlier one did."""
        packed = arrived.packed()
        if len(packed) < self._room:
            self._folders.put(key(folder), packed)
        else:
            self._folders.pop(key(folder))

    def find(self, folder: Segments) -> NamedFolder | None:
        """Return what was listed, or None."""
        packed = self._folders.get(key(folder))
        if packed is None:
            return None
        names, folders, size, is_whole = json.loads(packed.decode("utf-8", "surrogatepass"))
        return NamedFolder(tuple(names), tuple(folders), size, is_whole)

    def clear(self) -> None:
        """Forget all."""
        self._folders.clear()
