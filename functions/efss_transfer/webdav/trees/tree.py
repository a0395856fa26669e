"""A tree as one listing of infinite depth describes it, packed, and held against itself."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any, Final

from efss_transfer.webdav.multistatus import OWNCLOUD, Entry
from efss_transfer.webdav.paths import Segments, alike, of_href

_LEVEL: Final = 1
# What an entry takes while its folder is not complete yet.
_ENTRY_BYTES: Final = 400


class BadTree(Exception):
    """Listing that is no tree below the folder that was asked for, or one that is too large."""


class ArrivingTree:
    """Entries of a tree as they arrive; `own` is the path that the folder has in hrefs.

    `most` is how many bytes they may take. Each method raises BadTree, or UnplacedEntry.
    """

    def __init__(self, own: Segments, most: int) -> None:
        self._own = own
        self._most = most
        self._size = 0
        self._has_own = False
        self._folders: dict[Segments, dict[str, list[Any]]] = {(): {}}
        self._sizes: dict[Segments, int | None] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries, of which a folder's comes before those of what is in it."""
        for entry in entries:
            path = of_href(entry.href)
            if not self._has_own:
                if not alike(path, self._own) or not entry.collection:
                    raise BadTree("the folder itself does not come first")
                self._own, self._has_own = path, True
            if path[: len(self._own)] != self._own:
                raise BadTree("an entry is outside the folder")
            self._place(path[len(self._own) :], entry)

    def _place(self, path: Segments, entry: Entry) -> None:
        if path:
            inside = self._folders.get(path[:-1])
            if inside is None or path[-1] in inside:
                raise BadTree("an entry comes twice, or before its folder")
            inside[path[-1]] = _packed(entry)
            self._size += _ENTRY_BYTES + sum(map(len, path))
            if self._size > self._most:
                raise BadTree("the tree is too large")
        elif self._sizes:
            raise BadTree("the folder itself comes twice")
        if entry.collection:
            self._folders.setdefault(path, {})
            self._sizes[path] = _number(entry.get("size", OWNCLOUD))

    def names(self) -> set[tuple[str, bool]]:
        """Return what the folder itself has, and whether it is a folder."""
        return {(name, one[0]) for name, one in self._folders[()].items()}

    def folders(self) -> dict[Segments, bytes]:
        """Pack the folders of which all is there, by what the server says of their sizes.

        One that seems to be empty may be cut short, and so may one of another size than what is in
        it: each of these must be asked for by itself.
        """
        return {
            path: zlib.compress(json.dumps(inside).encode("utf-8", "surrogatepass"), _LEVEL)
            for path, inside in self._folders.items()
            if inside and self._is_complete(path, inside)
        }

    def _is_complete(self, path: Segments, inside: dict[str, list[Any]]) -> bool:
        total = 0
        for name, (is_folder, is_good, _, properties) in inside.items():
            size = self._sizes.get((*path, name)) if is_folder else _length(properties)
            if size is None or not is_good:
                return False
            total += size
        return total == self._sizes.get(path)


def unpacked(packed: bytes) -> list[tuple[str, Entry]]:
    """Return the entries of a folder with their names."""
    inside = json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    return [
        (
            name,
            Entry(
                "",
                None,
                (),
                collection=is_folder,
                checksums=tuple(checksums),
                properties=properties,
            ),
        )
        for name, (is_folder, _, checksums, properties) in inside.items()
    ]


def _packed(entry: Entry) -> list[Any]:
    is_good = entry.failure is None
    return [entry.collection, is_good, list(entry.checksums), dict(entry.properties)]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _length(properties: dict[str, str]) -> int | None:
    return _number(properties.get("DAV: getcontentlength"))
