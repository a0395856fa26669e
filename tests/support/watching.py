"""Look at something again and again in a thread, while a block runs."""

from __future__ import annotations

import threading
from typing import Self


class Watching:
    """Calls `look` every `period` seconds, for the length of a block."""

    period = 0.05

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        raise NotImplementedError

    def _watch(self) -> None:
        while not self._stop.wait(self.period):
            self.look()
