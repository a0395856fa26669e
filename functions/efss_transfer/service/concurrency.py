"""How many transfers run at a time: in all, and for each caller."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from efss_transfer.model.errors import Busy


class Slot:
    """A place among the transfers that may run. Giving it back twice is once."""

    def __init__(self, capacity: ConcurrencyLimit, caller: str) -> None:
        self._capacity: ConcurrencyLimit | None = capacity
        self._caller = caller
        self.handed_on = False
        """Whether somebody else than the block that took it gives it back."""

    def give_back(self) -> None:
        """Let another transfer have it."""
        capacity, self._capacity = self._capacity, None
        if capacity is not None:
            capacity._free(self._caller)


class ConcurrencyLimit:
    """The places that there are. Used from many threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, caller: str, most_of_caller: int | None) -> Iterator[Slot]:
        """A place for the length of the block, or beyond it if it was handed on.

        Raises Busy if there is none, in all or for this caller.
        """
        with self._lock:
            if self._taken.total() >= self._most:
                raise Busy("As many transfers run as are allowed here. Nothing was started.")
            if most_of_caller is not None and self._taken[caller] >= most_of_caller:
                raise Busy("This caller has as many transfers as are allowed. Nothing was started.")
            self._taken[caller] += 1
        place = Slot(self, caller)
        try:
            yield place
        finally:
            if not place.handed_on:
                place.give_back()

    def _free(self, caller: str) -> None:
        with self._lock:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]  # or every caller there ever was would be kept
