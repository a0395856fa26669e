"""Look at something again and again in a thread, while a block runs."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Self

import psutil

from support.service_process import Function


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


class WatchedMemory(Watching):
    """The largest memory of a service's Python and of its rclone together, while it runs."""

    def __init__(self, function: Function) -> None:
        self.python = self.rclone = self.both = 0
        super().__init__()
        self._function = function
        self._worker = function.worker()

    def look(self) -> None:
        python, rclone = self._worker.memory_info().rss, 0
        for process in self._function.daemons():
            with suppress(psutil.NoSuchProcess):
                rclone += process.memory_info().rss
        self.python, self.rclone = max(self.python, python), max(self.rclone, rclone)
        self.both = max(self.both, python + rclone)
