"""A site: the log of what was asked of it, its faults, and the time that its requests take."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from support.stand_in.faults import Fault, Faults, Request

_TURN: Final = 0.004


@dataclass(frozen=True)
class Cost:
    """Seconds that requests take: `start` before anything is looked at, `work` while a method
    does its own, which for MKCOL, PUT and MOVE is with the lock held. `workers` is the number of
    requests that are served at once, and `processors` the number of those that make progress,
    in turns; 0 for no bound.
    """

    start: float = 0
    work: Mapping[str, float] = field(default_factory=dict)
    entry: float = 0
    password: float = 0
    app_password: float = 0
    bearer: float = 0
    bulk_file: float = 0
    zip_file: float = 0
    workers: int = 0
    processors: int = 0


@dataclass(eq=False)
class Site:
    """A running server. Its contents are in `folder`."""

    folder: Path
    url: str = ""
    cost: Cost = field(default_factory=Cost)
    requests: list[Request] = field(default_factory=list)
    on_request: Callable[[Request], Fault | None] = lambda _: None

    def __post_init__(self) -> None:
        self.guard = threading.RLock()
        self.ended = threading.Event()
        self.faults = Faults()
        self._processors = threading.BoundedSemaphore(self.cost.processors or 1)
        self._workers = threading.BoundedSemaphore(self.cost.workers or 1)

    # Faults and the log.

    def fail(
        self,
        method: str,
        path: str,
        fault: Fault,
        *,
        times: int | None = None,
        skip: int = 0,
        when: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Let requests meet a fault, see `Faults.plan`; the path is the URL's, decoded."""
        with self.guard:
            self.faults.plan(method, path, fault, times=times, skip=skip, when=when)

    def heal(self) -> None:
        """Plan no fault any more, and forget the requests so far."""
        with self.guard:
            self.faults.clear()
            self.requests.clear()

    def seen(self, method: str = "*", path: str = "*") -> list[Request]:
        """The requests so far, of a method and for a path (a pattern)."""
        with self.guard:
            return [
                request
                for request in self.requests
                if method in ("*", request.method) and fnmatchcase(request.path, path)
            ]

    def statuses(self, method: str = "*", path: str = "*") -> Counter[int]:
        """Count the answers by status."""
        return Counter(request.status for request in self.seen(method, path))

    # Time.

    def spend(self, seconds: float) -> None:
        """Let time pass as the real server's processors would need it."""
        if not seconds:
            return
        if not self.cost.processors:
            time.sleep(seconds)
            return
        until_done = seconds
        while until_done > 0:
            with self._processors:
                began = time.monotonic()
                time.sleep(min(_TURN, until_done))
                until_done -= time.monotonic() - began
            # Without this the thread that let go would be the next again.
            time.sleep(0)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Wait for a worker and hold it."""
        if not self.cost.workers:
            yield
            return
        with self._workers:
            yield
