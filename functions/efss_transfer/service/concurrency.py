"""Limits how many transfers run at a time: in total, and for each caller."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from efss_transfer.model.errors import Busy

SERVICE_FULL: Final = (
    "The service already runs as many transfers as it may. Nothing was started; send the request "
    "again later."
)
CALLER_FULL: Final = (
    "You already run as many transfers as this site allows you. Nothing was started; send the "
    "request again when one of them has ended."
)


class Slot:
    """The right to run one transfer. Releasing it twice has no further effect."""

    def __init__(self, limit: ConcurrencyLimit, caller: str) -> None:
        self._limit: ConcurrencyLimit | None = limit
        self._caller = caller
        self.detached = False
        """Whether the slot outlives the `with` block that acquired it; its holder releases it."""

    def release(self) -> None:
        """Make room for another transfer."""
        limit, self._limit = self._limit, None
        if limit is not None:
            limit._release(self._caller)


class ConcurrencyLimit:
    """Counts the running transfers against their maximum. Thread-safe."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, caller: str, caller_maximum: int | None) -> Iterator[Slot]:
        """Hold a slot for the length of the block, or longer if the block detaches it.

        Raises Busy if no slot is free, in total or for this caller.
        """
        with self._lock:
            if self._running.total() >= self._maximum:
                raise Busy(SERVICE_FULL)
            if caller_maximum is not None and self._running[caller] >= caller_maximum:
                raise Busy(CALLER_FULL)
            self._running[caller] += 1
        slot = Slot(self, caller)
        try:
            yield slot
        finally:
            if not slot.detached:
                slot.release()

    def _release(self, caller: str) -> None:
        with self._lock:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]  # keeps the counter as small as the running transfers
