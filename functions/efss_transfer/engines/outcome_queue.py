"""Outcomes that wait for the consumer of a transfer's events."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from efss_transfer.model.result import FileOutcome

_LIMIT: Final = 1_000


class OutcomeQueue:
    """A queue of outcomes. `changed` guards it, with all else that it guards."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._waiting: deque[FileOutcome] = deque()
        self._is_bounded = False
        self._blocked = 0
        """How many threads wait for room: without one, nobody is notified of each outcome."""

    def wait_for_room(self) -> None:
        """Wait until an outcome may be appended. `changed` must be held."""
        while self._is_bounded and len(self._waiting) >= _LIMIT:
            self._blocked += 1
            try:
                self._changed.wait()
            finally:
                self._blocked -= 1

    def append(self, outcome: FileOutcome) -> None:
        """Append an outcome. `changed` must be held."""
        self._waiting.append(outcome)

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Bound the queue while the consumer of the outcomes is busy elsewhere.

        A slow consumer must not make the queue grow: when it is full, `add` blocks, the log is
        no longer read, and so the engine waits. At all other times the queue is unbounded,
        because a call to an engine that waits would wait as well.
        """
        self._is_bounded = True
        try:
            yield
        finally:
            with self._changed:
                self._is_bounded = False
                self._notify()

    def drain(self) -> Iterator[FileOutcome]:
        """The outcomes since the last call, each once, in the order of the log."""
        while True:
            with self._changed:
                if not self._waiting:
                    return
                outcome = self._waiting.popleft()
                self._notify()
            yield outcome

    def _notify(self) -> None:
        if self._blocked:
            self._changed.notify_all()
