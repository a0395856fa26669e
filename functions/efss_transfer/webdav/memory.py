"""Facts about a server that the gateway remembers, so that it need not ask again.

Any of them may be dropped at any time; then the server is asked. So each part is bounded, and
`forget` empties it before an attempt or a verification, which must ask the server.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from efss_transfer.webdav.paths import Segments

_MOST: Final = 100_000
_JUST_SECONDS: Final = 60.0
_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """A dictionary of bounded size, which drops its oldest entries."""

    def __init__(self, most: int = _MOST, dropped: Callable[[str], object] | None = None) -> None:
        self._most = most
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
        self._entries.pop(key, None)
        self._entries[key] = value
        if len(self._entries) > self._most:
            oldest, _ = self._entries.popitem(last=False)
            if self._dropped is not None:
                self._dropped(oldest)

    def pop(self, key: str) -> _Value | None:
        """Remove and return the value, or None."""
        return self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()


@dataclass(frozen=True, slots=True)
class Stored:
    """File as the server's answer to its upload describes it."""

    size: int
    modified: int | None
    checksum: str | None
    etag: str | None


def key(path: Segments) -> str:
    """Join a path into one string."""
    return "/".join(path)


def strong(etag: str | None) -> str | None:
    """Return an ETag that can be a condition of a PUT; None for a weak one."""
    return etag if etag and etag.startswith('"') else None


@dataclass
class Memory:
    """Cache for one server, with paths in the form of `key`.

    `etags`: files that were listed or stored (None: no ETag that can be a condition). `listed`:
    folders whose files are all in `etags`, and when they were listed. `stored`: uploads that the
    engine has not yet checked. `empty`: files listed without a size or with 0. `sizes`: the real
    sizes of such files. `failed`: failed uploads, after each of which rclone sends a DELETE.
    """

    etags: Recent[str | None] = field(init=False)
    listed: Recent[float] = field(default_factory=Recent)
    stored: Recent[Stored] = field(default_factory=Recent)
    sizes: Recent[int] = field(default_factory=Recent)
    empty: Recent[bool] = field(default_factory=Recent)
    failed: Recent[bool] = field(default_factory=Recent)

    def __post_init__(self) -> None:
        # Once one of its files is dropped, a folder is no longer known in full.
        self.etags = Recent(dropped=lambda path: self.listed.pop(path.rpartition("/")[0]))

    def forget(self) -> None:
        """Drop entries that may differ from the server's current state."""
        self.etags.clear()
        self.listed.clear()
        self.stored.clear()

    def has_listed(self, folder: Segments) -> None:
        """Record that all files of a folder are in `etags`."""
        self.listed.put(key(folder), time.monotonic())

    def is_absent(self, path: Segments) -> bool:
        """Return whether a file is known not to exist."""
        return key(path) not in self.etags and key(path[:-1]) in self.listed

    def was_just_absent(self, path: Segments) -> bool:
        """Return whether a file did not exist within the last minute."""
        listed = self.listed.get(key(path[:-1]))
        recent = listed is not None and time.monotonic() - listed < _JUST_SECONDS
        return recent and self.is_absent(path)
