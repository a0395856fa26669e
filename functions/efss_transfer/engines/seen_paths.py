"""Which paths were told already, in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from enum import IntEnum

from efss_transfer.model.result import FileOutcome, FileState, Reason


class SeenState(IntEnum):
    """As what a path was told: two bits."""

    TRANSFERRED = 0
    SAME = 1
    SKIPPED = 2  # skipped for another reason than that it is there
    FAILED = 3


class SeenPaths:
    """Which paths were told in earlier attempts, and as what, in eight bytes each.

    A hash of 62 bits stands for a path: of a hundred million paths the chance that any two
    are taken for one is a thousandth.
    """

    def __init__(self) -> None:
        self._new = array("Q")
        self._sorted = array("Q")

    def add(self, outcome: FileOutcome) -> None:
        """A path was told, each once."""
        self._new.append(_key(outcome.path) | _kind(outcome))

    def seal(self) -> None:
        """Make what was told so far known to `find`."""
        if self._new:
            self._sorted = array("Q", sorted((*self._sorted, *self._new)))
            self._new = array("Q")

    def state_of(self, path: str) -> SeenState | None:
        """As what a path was told before the last `seal`; None if it was not."""
        index = self._index(path)
        return None if index is None else SeenState(self._sorted[index] & 3)

    def mark_failed(self, path: str) -> None:
        """What was told was wrong: it has failed."""
        if (index := self._index(path)) is not None:
            self._sorted[index] |= SeenState.FAILED

    def _index(self, path: str) -> int | None:
        if not self._sorted:
            return None
        key = _key(path)
        index = bisect_left(self._sorted, key)
        found = index < len(self._sorted) and self._sorted[index] & ~3 == key
        return index if found else None


def _key(path: str) -> int:
    return hash(path) & 0xFFFF_FFFF_FFFF_FFFC


def _kind(outcome: FileOutcome) -> SeenState:
    if outcome.state is FileState.SKIPPED:
        return SeenState.SAME if outcome.reason is Reason.SAME else SeenState.SKIPPED
    return SeenState.FAILED if outcome.state is FileState.FAILED else SeenState.TRANSFERRED
