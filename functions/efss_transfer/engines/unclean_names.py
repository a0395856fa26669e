"""Names of an object store that are another file's path where there are folders.

An object store keeps `data/b.txt`, `data//b.txt` and `data/./b.txt` apart. A storage with folders
has one place for all of them, and the last file that is written there replaces the others.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable
from typing import Final

MOST_NAMES: Final = 200_000
"""Maximum number of such names in one source, because they are held in memory."""

_UNCLEAN_PARTS: Final = frozenset({"", ".", ".."})


def is_unclean(name: str) -> bool:
    """Whether a name has a part that is empty, `.` or `..`."""
    return not _UNCLEAN_PARTS.isdisjoint(name.split("/"))


def place(name: str) -> str:
    """The path of a file in a storage with folders. It begins with `..` if it leads out of the
    folder of the copy.
    """
    return posixpath.normpath(name).lstrip("/")


def leads_out(name: str) -> bool:
    """Whether a name leads out of the folder of the copy."""
    return place(name).split("/")[0] == ".."


def taken(names: Iterable[str], clean: Collection[str]) -> dict[str, str]:
    """The names whose place another file of the source takes, each with that file's name.

    `clean` are the files of the source whose name is their place: they take it. Without one, the
    first name in order does. So each request, attempt and shard copies the same file.
    """
    first: dict[str, str] = {}
    others: dict[str, str] = {}
    for name in sorted(names):
        at = place(name)
        if at in clean and at != name:
            others[name] = at
        elif (other := first.setdefault(at, name)) != name:
            others[name] = other
    return others
