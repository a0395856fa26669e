"""Plan which files that the engine will ask for are read ahead, in one archive.

Best is a folder of which everything is small and wanted: then its archive needs no names, and costs
the server least. So the highest such folder is taken that fits, with those beside it. Of a folder
with anything else the next files are asked for by their names.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from efss_transfer.webdav.archives.folder_names import NamedFolder
from efss_transfer.webdav.archives.known_files import KnownFile, KnownFiles, may_be_named
from efss_transfer.webdav.memory import Recent, key
from efss_transfer.webdav.paths import Segments

PARAMETERS: Final = "?accept=zip&files="
LONGEST_TARGET: Final = 6000
"""Three quarters of what nginx and Apache take by default."""

MOST_FILES: Final = 100
"""Most names in one request."""

_SAFE: Final = "/:@!$'()*,;"
_MOST_NAMED_BYTES: Final = 2 << 20
# Two archives of this size at a time are faster than one that is larger.
_MOST_BYTES: Final = 3 << 19
_MOST_ENTRIES: Final = 2000
# The engine asks for several files at a time, in any order: so far behind the next one of a folder
# the first of them may be.
_MOST_SKIPPED: Final = 64
# What a file takes in memory besides its content.
FILE_BYTES: Final = 700


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """One archive: of all of `folder`, or, with names in `parameters`, of some of it. `files` are
    its files by the names of their entries, and `folders` its other entries. `last` is its last
    file, or its last folder if it has all of that.
    """

    folder: Segments
    parameters: str
    files: Mapping[str, tuple[Segments, KnownFile]]
    folders: frozenset[str]
    size: int
    last: Segments


class Planner:
    """Plans for one source, each file in one plan. `length_of` is the length of a folder's URL."""

    def __init__(self, known: KnownFiles, length_of: Callable[[Segments], int]) -> None:
        self._known = known
        self._length_of = length_of
        self._next: Recent[str] = Recent(1 << 18)
        self.root: Segments = ()
        """Folder of which everything is wanted."""

    def forget(self) -> None:
        """Forget what was planned."""
        self._next.clear()

    def plan(self, path: Segments, room: int) -> ArchivePlan | None:
        """Plan an archive with this file and others, of `room` bytes; None if there is none."""
        if path[: len(self.root)] != self.root or len(path) <= len(self.root):
            return None
        return self._whole(path, min(room, _MOST_BYTES)) or self._named(path, room)

    def _whole(self, path: Segments, room: int) -> ArchivePlan | None:
        top = None
        for count in range(len(path) - 1, max(len(self.root), 1) - 1, -1):
            found = _Tree(self, path[:count]).within(room, _MOST_ENTRIES)
            if found is None:
                break
            top = found
        if top is None or len(top.files) < 2:
            return None
        trees = [top, *self._beside(top, room)]
        folder = top.folder if len(trees) == 1 else top.folder[:-1]
        names = [tree.folder[-1] for tree in trees]
        for tree in trees:
            for inner in tree.folders:
                self._next.put(key(inner), "all")
        files = {
            "/".join(file[len(top.folder) - 1 :]): (file, listed)
            for tree in trees
            for file, listed in tree.files
        }
        if path not in {file for file, _ in files.values()}:
            return None
        inner_folders = ("/".join(it[len(top.folder) - 1 :]) for t in trees for it in t.folders)
        parameters = PARAMETERS + quoted(*names) if len(trees) > 1 else "?accept=zip"
        size = sum(listed.size + FILE_BYTES for _, listed in files.values())
        last = trees[-1].folder
        return ArchivePlan(folder, parameters, files, frozenset(inner_folders), size, last)

    def _beside(self, top: _Tree, room: int) -> list[_Tree]:
        """Return the next folders of the same one that fit as well."""
        parent = top.folder[:-1]
        found = self.find(parent) if len(top.folder) > len(self.root) else None
        if found is None:
            return []
        entries, size = top.entries, top.size
        length = self._length_of(parent) + len(PARAMETERS) + len(quoted(top.folder[-1]))
        trees: list[_Tree] = []
        for name in found.folders[bisect_left(found.folders, top.folder[-1]) + 1 :]:
            length += len(quoted(name))
            tree = _Tree(self, (*parent, name)).within(room - size, _MOST_ENTRIES - entries)
            is_full = length > LONGEST_TARGET or len(trees) + 2 > MOST_FILES
            if tree is None or is_full:
                break
            size, entries = size + tree.size, entries + tree.entries
            trees.append(tree)
        return trees

    def _named(self, path: Segments, room: int) -> ArchivePlan | None:
        folder, room = path[:-1], min(room, _MOST_NAMED_BYTES)
        found = self.find(folder)
        if found is None:
            return None
        index = bisect_left(found.names, path[-1])
        first = self._first(folder, found)
        if index < first:
            return None
        near = [first] if index - first <= _MOST_SKIPPED else []
        for start in (*near, index):
            files = self._next_files(folder, found.names[start : start + MOST_FILES], room)
            if path[-1] in files and len(files) > 1:
                self._next.put(key(folder), str(start + len(files)))
                size = sum(listed.size + FILE_BYTES for _, listed in files.values())
                last = (*folder, max(files))
                parameters = PARAMETERS + quoted(*files)
                return ArchivePlan(folder, parameters, files, frozenset(), size, last)
        return None

    def following(self, plan: ArchivePlan) -> Segments | None:
        """Return the file that the engine asks for after those of a plan, if it is beside them."""
        *above, last = plan.last
        found = self.find(tuple(above))
        if found is None:
            return None
        if not plan.folders:
            rest = found.names[bisect_right(found.names, last) :]
            return (*above, rest[0]) if rest else None
        rest = found.folders[bisect_right(found.folders, last) :]
        return self._first_file((*above, rest[0])) if rest else None

    def _first_file(self, folder: Segments) -> Segments | None:
        while (found := self.find(folder)) is not None and not found.names and found.folders:
            folder = (*folder, found.folders[0])
        return (*folder, found.names[0]) if found is not None and found.names else None

    def _next_files(
        self, folder: Segments, names: Sequence[str], room: int
    ) -> dict[str, tuple[Segments, KnownFile]]:
        """Return the first of these files, as many as one request takes."""
        length = self._length_of(folder) + len(PARAMETERS)
        files: dict[str, tuple[Segments, KnownFile]] = {}
        for name in names:
            listed = self._known.find((*folder, name))
            if listed is None:
                break
            length += len(quoted(name))
            room -= listed.size + FILE_BYTES
            if length > LONGEST_TARGET or room < 0:
                break
            files[name] = (*folder, name), listed
        return files

    def find(self, folder: Segments) -> NamedFolder | None:
        """Return what is known of the names of a folder."""
        return self._known.names.find(folder)

    def known(self, path: Segments) -> KnownFile | None:
        """Return what is known of a file."""
        return self._known.find(path)

    def is_new(self, folder: Segments) -> bool:
        """Return whether no file of a folder was planned."""
        return key(folder) not in self._next

    def _first(self, folder: Segments, found: NamedFolder) -> int:
        """Return which name of a folder comes next."""
        text = self._next.get(key(folder)) or "0"
        return len(found.names) if text == "all" else int(text)


class _Tree:
    """A folder of which everything is small and wanted, and nothing planned."""

    def __init__(self, planner: Planner, folder: Segments) -> None:
        self._planner = planner
        self.folder = folder
        self.files: list[tuple[Segments, KnownFile]] = []
        self.folders: list[Segments] = []
        self.size = 0

    @property
    def entries(self) -> int:
        """Number of files and folders."""
        return len(self.files) + len(self.folders)

    def within(self, room: int, most: int) -> _Tree | None:
        """Find all that is in it; None if that is not known, is not small, or does not fit."""
        waiting = [self.folder]
        while waiting:
            folder = waiting.pop()
            if not self._add(folder, room, most):
                return None
            found = self._planner.find(folder)
            waiting += [(*folder, name) for name in found.folders] if found is not None else []
        return self

    def _add(self, folder: Segments, room: int, most: int) -> bool:
        found = self._planner.find(folder)
        if found is None or not found.is_whole or not self._planner.is_new(folder):
            return False
        self.folders.append(folder)
        self.size += found.size + FILE_BYTES * len(found.names)
        is_long = self.entries + len(found.names) + len(found.folders) > most
        if is_long or self.size > room or not may_be_named(folder[-1]):
            return False
        for name in found.names:
            listed = self._planner.known((*folder, name))
            if listed is None:
                return False
            self.files.append(((*folder, name), listed))
        return True


def quoted(*names: str) -> str:
    """Quote names for a URL, as a list."""
    return quote(json.dumps(names, ensure_ascii=False, separators=(",", ":")), safe=_SAFE)
