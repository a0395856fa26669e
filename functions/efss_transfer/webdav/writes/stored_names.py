"""Remember the names of all files that a transfer has stored, in eight bytes each."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from typing import Final

_NEW: Final = 1 << 12
# Longer runs are not merged any more, because merging holds up the event loop.
_LONGEST: Final = 1 << 17
_EXACT: Final = (1 << 20) - 1
_SHARED: Final = (1 << 64) - 1 - _EXACT


class StoredNames:
    """Names, each with the form that it shares with all that are alike.

    A name is kept as a hash of its shared form in 44 bits, and one of itself in 20. So two names
    are rarely taken for alike that are not, which asking the server shows, and one of a million
    pairs that are alike is not noticed.
    """

    def __init__(self) -> None:
        # The entries that are in no run yet, by their shared part.
        self._new: dict[int, set[int]] = {}
        self._runs: list[array[int]] = []

    def add(self, name: str, shared: str) -> None:
        """Add a name."""
        entry = _entry(name, shared)
        self._new.setdefault(entry & _SHARED, set()).add(entry)
        if len(self._new) < _NEW:
            return
        run = array("Q", sorted(entry for alike in self._new.values() for entry in alike))
        self._new.clear()
        while self._runs and len(self._runs[-1]) <= len(run) < _LONGEST:
            run = array("Q", heapq.merge(self._runs.pop(), run))
        self._runs.append(run)

    def has_another(self, name: str, shared: str) -> bool:
        """Return whether a name that is alike was added, but for this one."""
        wanted = _entry(name, shared)
        first = wanted & _SHARED
        if self._new.get(first, set()) - {wanted}:
            return True
        for run in self._runs:
            for index in range(bisect_left(run, first), len(run)):
                if run[index] & _SHARED != first:
                    break
                if run[index] != wanted:
                    return True
        return False


def _entry(name: str, shared: str) -> int:
    return (hash(shared) & _SHARED) | (hash(name) & _EXACT)
