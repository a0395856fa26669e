"""What the service counts, for Prometheus. Nothing else knows prometheus_client.

No label has a name, a host or a path: whoever reads the numbers learns how many, and not of
whom. Every service has a registry of its own, so that several can be in a process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from efss_transfer.model.result import FileState, Result

_OPENMETRICS: Final = "application/openmetrics-text"
_MINUTE: Final = 60.0
_HOUR: Final = 60 * _MINUTE
# From a small file to the days that a transfer may take.
_DURATIONS: Final = (
    *(0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 6 * _HOUR, 24 * _HOUR),
)
_BOOTS: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 15)


class Metrics:
    """The numbers of one service. Used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self._kept: _Numbers | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """One more transfer runs for the length of the block."""
        with self._lock:
            self._now += 1
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def booted(self, engine: str, seconds: float) -> None:
        """An engine gave its first answer, that long after its start."""
        self._numbers().boot.labels(engine).observe(seconds)

    def ended(self, result: Result, began: float) -> None:
        """A transfer ended, which `began` at that time of `time.monotonic()`."""
        numbers, state, totals = self._numbers(), result.state.value, result.totals
        numbers.transfers.labels(state, result.code or "none").inc()
        numbers.duration.labels(state).observe(time.monotonic() - began)
        numbers.files.labels(FileState.TRANSFERRED.value).inc(totals.transferred)
        numbers.files.labels(FileState.SKIPPED.value).inc(totals.skipped)
        numbers.files.labels(FileState.FAILED.value).inc(totals.failed)
        numbers.bytes.inc(totals.transferred_bytes)
        if (notification := result.notification) is not None:
            error = notification.error
            outcome = "delivered" if error is None else error.code
            numbers.notifications.labels(outcome).inc()

    def refused(self, code: str) -> None:
        """A request was refused."""
        self._numbers().refused.labels(code).inc()

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """All numbers in the format that an Accept header wants, and its media type."""
        return self._numbers().exposed(accept)

    def _numbers(self) -> _Numbers:
        with self._lock:
            if self._kept is None:
                self._kept = _Numbers(lambda: self._now)
            return self._kept


class _Numbers:
    """The library's part. Made when something is first counted: it brings an HTTP server along,
    and the first transfer of a process must not wait for that to be imported.
    """

    def __init__(self, running: Callable[[], int]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        self.transfers = Counter(
            "efss_transfer_transfers",
            "Transfers that ended, by state and by the code of their error.",
            ("state", "code"),
            registry=registry,
        )
        self.files = Counter(
            "efss_transfer_files",
            "Files of transfers that ended, by what became of them.",
            ("state",),
            registry=registry,
        )
        self.bytes = Counter(
            "efss_transfer_transferred_bytes",
            "Bytes of the files that were transferred.",
            registry=registry,
        )
        self.duration = Histogram(
            "efss_transfer_transfer_duration_seconds",
            "How long transfers took, from the request to the result.",
            ("state",),
            buckets=_DURATIONS,
            registry=registry,
        )
        Gauge(
            "efss_transfer_running_transfers", "Transfers that run now.", registry=registry
        ).set_function(running)
        self.boot = Histogram(
            "efss_transfer_engine_boot_seconds",
            "How long an engine took from its start to its first answer.",
            ("engine",),
            buckets=_BOOTS,
            registry=registry,
        )
        self.refused = Counter(
            "efss_transfer_refused_requests",
            "Requests that were refused before anything started, by code.",
            ("code",),
            registry=registry,
        )
        self.notifications = Counter(
            "efss_transfer_notifications",
            "Notifications, by outcome: `delivered`, or why not.",
            ("outcome",),
            registry=registry,
        )
        # They are there from the start, so that the first failure is a rise and not a beginning.
        for state in FileState:
            self.files.labels(state.value)

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """All numbers in the format that an Accept header wants, and its media type."""
        from prometheus_client.exposition import choose_encoder

        # The library's own reading stumbles over a version that is none, and repeats it.
        wanted = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
        encode, kind = choose_encoder(_OPENMETRICS if _OPENMETRICS in wanted else "")
        return encode(self._registry), kind
