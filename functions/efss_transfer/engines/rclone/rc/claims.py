"""Keeps the clean-up of a transfer from what another transfer of this process writes.

A caller may hang up, and send the same request again before the clean-up of the first has ended. A
storage may take seconds to remove a file, so nothing that is compared before the removal tells
whether the second has stored the file meanwhile. So a transfer begins only when no earlier one
cleans up at the same place, and once another has begun there, the first removes nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from efss_transfer.model.locations import StoragePath

_CHANGED: Final = threading.Condition()
_LINGERS_SECONDS: Final = 10.0


class Claim:
    """The place that a transfer writes to. Until it is held it is none."""

    def __init__(self) -> None:
        self._location: StoragePath | None = None
        self._earlier: list[Claim] = []
        self._is_ending = False
        self._is_cleaning = False
        self.is_contested = False
        """Whether another transfer has begun here since, so that a file may be its own."""
        self.lingers = False
        """Whether a removal was not waited for to its end: the storage may still carry it out."""

    @contextmanager
    def held(self, location: StoragePath) -> Iterator[None]:
        """Hold the claim for the length of the block, in which the transfer writes."""
        with _CHANGED:
            for other in _HELD:
                if other._location is not None and other._location.overlaps(location):
                    self._earlier.append(other)
            self._location = location
            _HELD.append(self)
        try:
            yield
        finally:
            if self.lingers:
                timer = threading.Timer(_LINGERS_SECONDS, self._release)
                timer.daemon = True
                timer.start()
            else:
                self._release()

    def _release(self) -> None:
        with _CHANGED:
            _HELD.remove(self)
            self._is_ending = self._is_cleaning = False
            self._earlier.clear()
            _CHANGED.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until no earlier transfer cleans up here, at most `seconds`. Return whether this one
        may begin.
        """
        with _CHANGED:
            may_begin = _CHANGED.wait_for(
                lambda: not any(other._is_cleaning for other in self._earlier), seconds
            )
            if may_begin:
                for other in self._earlier:
                    other.is_contested = True
            return may_begin

    def begin_end(self) -> None:
        """From now on the transfer only cleans up."""
        with _CHANGED:
            self._is_ending = self._is_cleaning = True

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """Let no other transfer begin here during the block, in which this one cleans up."""
        with _CHANGED:
            self._is_cleaning = True
        try:
            yield
        finally:
            with _CHANGED:
                self._is_cleaning = self._is_ending
                _CHANGED.notify_all()


_HELD: Final[list[Claim]] = []
