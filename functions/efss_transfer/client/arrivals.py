"""Tell files that arrive for the first time from those that arrive again."""

from __future__ import annotations

from typing import Final

_MOST: Final = 500_000


class Arrivals:
    """The files that earlier invocations of a transfer have copied.

    A destination that shows other sizes or times than the source gets the same files again in each
    invocation, which is no progress. Of more files than are remembered, each counts as new.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()

    def add(self, path: str) -> bool:
        """Add a file, and return whether it is new."""
        mark = hash(path)
        if mark in self._known:
            return False
        if len(self._known) < _MOST:
            self._known.add(mark)
        return True
