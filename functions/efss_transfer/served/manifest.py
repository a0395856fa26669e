"""Keep a list of files in little memory: about 150 bytes for each, whatever its order.

SQLite has it in memory, ordered by folder and by the form that a name shares with all that differ
at most in case and Unicode form. So two files that some destination would take for one are found,
and a folder is listed in pieces.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from efss_transfer.served.checksums import SIZES, Checksum
from efss_transfer.served.names import DEEPEST, PathRefused, clean
from efss_transfer.webdav.paths import Segments, folded

_TABLES: Final = """
CREATE TABLE entry (
    folder INTEGER, alike TEXT, name TEXT, own INTEGER, size INTEGER, modified INTEGER,
    checksum BLOB, base INTEGER, rest TEXT, mirrors TEXT, PRIMARY KEY (folder, alike)
) WITHOUT ROWID;
CREATE TABLE base (id INTEGER PRIMARY KEY, url TEXT UNIQUE);
"""
_ENTRIES: Final = (
    "SELECT name, alike, own, size, modified, checksum, base, rest, mirrors FROM entry "
    "WHERE folder = ? AND alike "
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_KINDS: Final = tuple(SIZES)
_PIECE: Final = 256
_MOST_FOLDERS_KEPT: Final = 1 << 12
SAME_PATH: Final = "Another file of the list has this path, or one that some storages take for it."


class ListTooLarge(Exception):
    """List that does not fit into the memory that it may use."""


@dataclass(frozen=True, slots=True)
class UrlFile:
    """File of a list. `modified` is in seconds since 1970; None is unknown."""

    path: str
    urls: tuple[str, ...]
    size: int | None = None
    checksum: Checksum | None = None
    modified: int | None = None


@dataclass(frozen=True, slots=True)
class MovedFile(UrlFile):
    """File of which the list has named the checksum before, and names another URL now."""


@dataclass(frozen=True, slots=True)
class Found:
    """Entry of a folder: a folder if `file` is None."""

    name: str
    file: UrlFile | None = None


class Manifest:
    """Files of one list, by their paths. Bound to no thread, but used by one at a time."""

    def __init__(self, most_bytes: int = 1 << 28) -> None:
        self._tables = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._tables.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY;" + _TABLES
        )
        (page,) = self._tables.execute("PRAGMA page_size").fetchone()
        self._tables.execute(f"PRAGMA max_page_count={max(64, most_bytes // page)}")
        self._folders: dict[str, int] = {"": 0}
        self._bases: dict[str, int] = {}
        self._last_folder = 0
        self.count = 0

    def add(self, listed: UrlFile) -> None:
        """Add a file. Raises PathRefused, and ListTooLarge."""
        try:
            if not (isinstance(listed, MovedFile) and self._move(listed)):
                self._add(listed)
        except sqlite3.OperationalError as error:
            raise ListTooLarge from error

    def _add(self, listed: UrlFile) -> None:
        head, _, name = clean(listed.path).rpartition("/")
        folder = self._make_folder(head)
        base, slash, rest = listed.urls[0].rpartition("/")
        check = listed.checksum
        alike = folded(name)
        row = (
            folder,
            alike,
            None if alike == name else name,
            listed.size,
            listed.modified,
            None if check is None else bytes((_KINDS.index(check.kind),)) + check.value,
            self._base(base + slash),
            rest,
            json.dumps(listed.urls[1:]) if listed.urls[1:] else None,
        )
        try:
            self._tables.execute(
                "INSERT INTO entry (folder, alike, name, size, modified, checksum, base, rest, "
                "mirrors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        except sqlite3.IntegrityError:
            raise PathRefused(SAME_PATH) from None
        self.count += 1

    def _move(self, listed: UrlFile) -> bool:
        path = tuple(clean(listed.path).split("/"))
        known = self.find(path)
        if known is None or known.file is None:
            return False
        base, slash, rest = listed.urls[0].rpartition("/")
        self._tables.execute(
            "UPDATE entry SET base = ?, rest = ?, size = ? WHERE folder = ? AND alike = ?",
            (
                self._base(base + slash),
                rest,
                listed.size,
                self._folder(path[:-1]),
                folded(path[-1]),
            ),
        )
        return True

    def learn(self, path: Segments, size: int | None, modified: int | None) -> None:
        """Keep what a server said of a file, where the list does not say it."""
        folder = self._folder(path[:-1])
        self._tables.execute(
            "UPDATE entry SET size = coalesce(size, ?), modified = coalesce(modified, ?) "
            "WHERE folder = ? AND alike = ?",
            (size, modified, folder, folded(path[-1])),
        )

    def find(self, path: Segments) -> Found | None:
        """Return the file or folder at a path; None if there is none."""
        if not path:
            return Found("")
        if _SURROGATE.search("/".join(path)):
            return None  # the engine's form of bytes that are no text: no list has it
        folder = self._folder(path[:-1])
        if folder is None:
            return None
        row = self._tables.execute(_ENTRIES + "= ?", (folder, folded(path[-1]))).fetchone()
        found = None if row is None else self._found("/".join(path[:-1]), row)
        return found if found is not None and found.name == path[-1] else None

    def entries(self, path: Segments) -> Iterator[list[Found]]:
        """Yield the entries of a folder in pieces."""
        folder, last = self._folder(path), ""
        head = "/".join(path)
        while True:
            rows = self._tables.execute(
                _ENTRIES + "> ? ORDER BY alike LIMIT ?", (folder, last, _PIECE)
            ).fetchall()
            if not rows:
                return
            last = rows[-1][1]
            yield [self._found(head, row) for row in rows]

    def close(self) -> None:
        """Release the memory."""
        self._tables.close()

    def _found(self, folder: str, row: tuple[object, ...]) -> Found:
        name, alike, own, size, modified, check, base, rest, mirrors = row
        shown = str(alike if name is None else name)
        if own is not None:
            return Found(shown)
        (url,) = self._tables.execute("SELECT url FROM base WHERE id = ?", (base,)).fetchone()
        more = json.loads(str(mirrors)) if mirrors else []
        return Found(
            shown,
            UrlFile(
                f"{folder}/{shown}" if folder else shown,
                (f"{url}{rest}", *more),
                size if isinstance(size, int) else None,
                Checksum(_KINDS[check[0]], check[1:]) if isinstance(check, bytes) else None,
                modified if isinstance(modified, int) else None,
            ),
        )

    def _folder(self, path: Segments) -> int | None:
        joined = "/".join(path)
        if len(path) > DEEPEST:
            return None  # no list has it
        if (known := self._folders.get(joined)) is not None:
            return known
        above = self._folder(path[:-1])
        if above is None:
            return None
        row = self._tables.execute(
            "SELECT own, coalesce(name, alike) FROM entry WHERE folder = ? AND alike = ?",
            (above, folded(path[-1])),
        ).fetchone()
        if row is None or row[0] is None or row[1] != path[-1]:
            return None
        return self._keep(joined, int(row[0]))

    def _make_folder(self, path: str) -> int:
        """Return a folder's number, after making it where it is new. Raises PathRefused."""
        if (known := self._folders.get(path)) is not None:
            return known
        head, _, name = path.rpartition("/")
        above, alike = self._make_folder(head), folded(name)
        row = self._tables.execute(
            "SELECT own, coalesce(name, alike) FROM entry WHERE folder = ? AND alike = ?",
            (above, alike),
        ).fetchone()
        if row is not None:
            if row[0] is None or row[1] != name:
                raise PathRefused(SAME_PATH)
            return self._keep(path, int(row[0]))
        self._last_folder += 1
        self._tables.execute(
            "INSERT INTO entry (folder, alike, name, own) VALUES (?, ?, ?, ?)",
            (above, alike, None if alike == name else name, self._last_folder),
        )
        return self._keep(path, self._last_folder)

    def _keep(self, path: str, folder: int) -> int:
        if len(self._folders) >= _MOST_FOLDERS_KEPT:
            self._folders = {"": 0}
        self._folders[path] = folder
        return folder

    def _base(self, url: str) -> int:
        known = self._bases.get(url)
        if known is not None:
            return known
        if len(self._bases) >= _MOST_FOLDERS_KEPT:
            self._bases.clear()
        self._tables.execute("INSERT OR IGNORE INTO base (url) VALUES (?)", (url,))
        (found,) = self._tables.execute("SELECT id FROM base WHERE url = ?", (url,)).fetchone()
        self._bases[url] = int(found)
        return int(found)
