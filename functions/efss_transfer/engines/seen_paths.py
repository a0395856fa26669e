"""Remember reported paths in eight bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from enum import IntEnum

from efss_transfer.model.result import FileOutcome, FileState, Reason


class SeenState(IntEnum):
    """The reported state of a path, in two bits."""

    TRANSFERRED = 0
    SAME = 1
    SKIPPED = 2  # for another reason than an equal file at the destination
    FAILED = 3


class SeenPaths:
    """The paths that earlier attempts reported, and their states, in eight bytes each.

    A path is stored as a hash of 62 bits: among a hundred million paths, the probability of any
    collision is one in a thousand.
    """

    def __init__(self) -> None:
        self._new = array("Q")
        self._sorted = array("Q")

    def add(self, outcome: FileOutcome) -> None:
        """Add the outcome of a path, once for each path."""
        self._new.append(_key(outcome.path) | _state(outcome))

    def seal(self) -> None:
        """Let `state_of` find the paths that were added so far."""
        if self._new:
            self._sorted = array("Q", sorted((*self._sorted, *self._new)))
            self._new = array("Q")

    def state_of(self, path: str) -> SeenState | None:
        """The state of a path that was added before the last `seal`; None for other paths."""
        index = self._index(path)
        return None if index is None else SeenState(self._sorted[index] & 3)

    def mark_failed(self, path: str) -> None:
        """Change the state of a path that `state_of` finds: it has failed after all."""
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


def _state(outcome: FileOutcome) -> SeenState:
    if outcome.state is FileState.SKIPPED:
        return SeenState.SAME if outcome.reason is Reason.SAME else SeenState.SKIPPED
    return SeenState.FAILED if outcome.state is FileState.FAILED else SeenState.TRANSFERRED
