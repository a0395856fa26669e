"""Facts about a server that the gateway remembers, so that it need not ask again.

Any of them may be dropped at any time; then the server is asked. So each part is bounded, and
`forget` empties it before an attempt or a verification, which must ask the server.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Final, Generic, TypeVar

from efss_transfer.webdav.paths import Segments

_JUST_SECONDS: Final = 60.0
_ROOM: Final = 16 << 20
_ENTRY_BYTES: Final = 180  # of the dictionary, for each entry: 130 to 170 were measured
_OBJECT_BYTES: Final = 160
_MOST_UPLOADS: Final = 256
_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """A dictionary of at most `room` bytes, which drops its oldest entries.

    It keeps at least the `least` newest entries, whatever their size.
    """

    def __init__(
        self,
        room: int = _ROOM,
        dropped: Callable[[str], object] | None = None,
        *,
        least: int = 1,
    ) -> None:
        self.size = 0
        self._room = room
        self._least = least
        # Not a plain dictionary: the more entries were dropped, the longer finding the first takes.
        self._entries: OrderedDict[str, _Value] = OrderedDict()
        self._dropped = dropped

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get(self, key: str) -> _Value | None:
        """Return the value, or None."""
        return self._entries.get(key)

    def put(self, key: str, value: _Value) -> None:
        """Store a value."""
        self.pop(key)
        self._entries[key] = value
        self.size += _weight(key, value)
        while self.size > self._room and len(self._entries) > self._least:
            oldest, old = self._entries.popitem(last=False)
            self.size -= _weight(oldest, old)
            if self._dropped is not None:
                self._dropped(oldest)

    def pop(self, key: str) -> _Value | None:
        """Remove and return the value, or None."""
        if key not in self._entries:
            return None
        value = self._entries.pop(key)
        self.size -= _weight(key, value)
        return value

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self.size = 0


def _weight(key: str, value: object) -> int:
    """Return how many bytes an entry takes, roughly: with its text, which may be long."""
    if isinstance(value, (str, bytes)):
        return _ENTRY_BYTES + getsizeof(key) + getsizeof(value)
    if isinstance(value, Stored):
        texts = getsizeof(value.etag) + getsizeof(value.checksum)
        return _ENTRY_BYTES + _OBJECT_BYTES + getsizeof(key) + texts
    return _ENTRY_BYTES + getsizeof(key)


@dataclass(frozen=True, slots=True)
class Stored:
    """File as the server's answer to its upload describes it; `in_bulk` with many others."""

    size: int
    modified: int | None
    checksum: str | None
    etag: str | None
    in_bulk: bool = False


def key(path: Segments) -> str:
    """Join a path into one string."""
    return "/".join(path)


def strong(etag: str | None) -> str | None:
    """Return an ETag that can be a condition of a PUT; None for a weak one."""
    return etag if etag and etag.startswith('"') else None


@dataclass
class Memory:
    """Cache of at most `room` bytes for one server, with paths in the form of `key`.

    `etags`: files that were listed or stored (None: no ETag that can be a condition). `listed`:
    folders whose files are all in `etags`, and when they were listed. `stored`: uploads that the
    engine has not yet checked. `empty`: files listed without a size or with 0. `sizes`: the real
    sizes of such files. `own`: ETags of uploads. `failed`: failed uploads, after each of which
    rclone sends a DELETE. `unlisted`: folders whose last listing failed.
    """

    room: int = _ROOM
    dropped: int = 0
    """How many files were dropped from `etags` because of its size."""
    etags: Recent[str | None] = field(init=False)
    listed: Recent[float] = field(init=False)
    stored: Recent[Stored] = field(init=False)
    sizes: Recent[int] = field(init=False)
    empty: Recent[bool] = field(init=False)
    failed: Recent[bool] = field(init=False)
    own: Recent[str] = field(init=False)
    unlisted: Recent[bool] = field(init=False)

    def __post_init__(self) -> None:
        part = self.room // 16
        self.etags = Recent(10 * part, self._drop)
        self.listed, self.stored, self.sizes = Recent(part), Recent(part), Recent(part)
        self.empty, self.own, self.unlisted = Recent(part), Recent(part), Recent(part)
        # One that is dropped would let rclone's DELETE through to the old file: those of all
        # uploads that are under way are kept.
        self.failed = Recent(part, least=_MOST_UPLOADS)

    @property
    def size(self) -> int:
        """Number of bytes that all parts take."""
        parts = self.listed, self.stored, self.sizes, self.empty, self.failed, self.own
        return self.etags.size + self.unlisted.size + sum(part.size for part in parts)

    def _drop(self, path: str) -> None:
        # A folder that lacks one of its files here is no longer known in full.
        self.listed.pop(path.rpartition("/")[0])
        self.dropped += 1

    def forget(self) -> None:
        """Drop entries that may differ from the server's current state."""
        self.etags.clear()
        self.listed.clear()
        self.stored.clear()
        self.unlisted.clear()

    def has_listed(self, folder: Segments, at: float | None = None) -> None:
        """Record that all files of a folder are in `etags`, as they were `at` a time or are now."""
        self.unlisted.pop(key(folder))
        self.listed.put(key(folder), time.monotonic() if at is None else at)

    def is_absent(self, path: Segments) -> bool:
        """Return whether a file is known not to exist."""
        return key(path) not in self.etags and key(path[:-1]) in self.listed

    def was_just_absent(self, path: Segments) -> bool:
        """Return whether a file did not exist within the last minute."""
        listed = self.listed.get(key(path[:-1]))
        recent = listed is not None and time.monotonic() - listed < _JUST_SECONDS
        return recent and self.is_absent(path)
