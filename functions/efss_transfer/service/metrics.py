"""The service's Prometheus metrics. No other module imports prometheus_client.

No label carries a caller, a host or a path: a reader of /metrics learns numbers, not names.
Each service has a registry of its own, so one process can hold several services.
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
# Seconds: from one small file to the days that a transfer may take.
_DURATION_BUCKETS: Final = (
    *(0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 6 * _HOUR, 24 * _HOUR),
)
_LOOK_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, _MINUTE, 10 * _MINUTE, _HOUR)
_BOOT_BUCKETS: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 15)


class Metrics:
    """The metrics of one service. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._made: _Collectors | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a transfer as running for the length of the block."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def observe_boot(self, engine: str, seconds: float) -> None:
        """Record how long an engine took from its start to its first response."""
        self._collectors().boot.labels(engine).observe(seconds)

    def observe_transfer(self, result: Result, began: float) -> None:
        """Record a finished transfer; `began` is the `time.monotonic()` of its start."""
        collectors, state, totals = self._collectors(), result.state.value, result.totals
        collectors.transfers.labels(state, result.code or "none").inc()
        collectors.duration.labels(state).observe(time.monotonic() - began)
        collectors.files.labels(FileState.TRANSFERRED.value).inc(totals.transferred)
        collectors.files.labels(FileState.SKIPPED.value).inc(totals.skipped)
        collectors.files.labels(FileState.FAILED.value).inc(totals.failed)
        collectors.bytes.inc(totals.transferred_bytes)
        if (notification := result.notification) is not None:
            error = notification.error
            outcome = "delivered" if error is None else error.code
            collectors.notifications.labels(outcome).inc()

    def observe_look(self, kind: str, code: str | None, seconds: float) -> None:
        """Record a finished list, check or plan, and how long it took."""
        collectors = self._collectors()
        collectors.looks.labels(kind, code or "none").inc()
        collectors.look_duration.labels(kind).observe(seconds)

    def count_refusal(self, code: str) -> None:
        """Count a request that was refused with this error code."""
        self._collectors().refused.labels(code).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its media type."""
        return self._collectors().render(accept)

    def _collectors(self) -> _Collectors:
        with self._lock:
            if self._made is None:
                self._made = _Collectors(lambda: self._running)
            return self._made


class _Collectors:
    """The prometheus_client objects.

    They are created at the first use: importing the library imports an HTTP server, and the first
    transfer of a process must not wait for that.
    """

    def __init__(self, running: Callable[[], int]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        self.transfers = Counter(
            "efss_transfer_transfers",
            "Finished transfers, by state and error code.",
            ("state", "code"),
            registry=registry,
        )
        self.files = Counter(
            "efss_transfer_files",
            "Files of finished transfers, by state.",
            ("state",),
            registry=registry,
        )
        self.bytes = Counter(
            "efss_transfer_transferred_bytes",
            "Bytes of transferred files.",
            registry=registry,
        )
        self.duration = Histogram(
            "efss_transfer_transfer_duration_seconds",
            "Duration of transfers, from the request to the result.",
            ("state",),
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self._add_looks()
        Gauge(
            "efss_transfer_running_transfers", "Transfers running now.", registry=registry
        ).set_function(running)
        self.boot = Histogram(
            "efss_transfer_engine_boot_seconds",
            "Time from the start of an engine to its first response.",
            ("engine",),
            buckets=_BOOT_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "efss_transfer_refused_requests",
            "Requests refused before a transfer started, by error code.",
            ("code",),
            registry=registry,
        )
        self.notifications = Counter(
            "efss_transfer_notifications",
            "Notifications, by outcome: `delivered` or an error code.",
            ("outcome",),
            registry=registry,
        )
        # Start at zero instead of being absent, so that `rate()` sees the first failure.
        for state in FileState:
            self.files.labels(state.value)

    def _add_looks(self) -> None:
        from prometheus_client import Counter, Histogram

        self.looks = Counter(
            "efss_transfer_looks",
            "Finished looks at storages, by kind (`list`, `check`, `plan`) and error code.",
            ("kind", "code"),
            registry=self._registry,
        )
        self.look_duration = Histogram(
            "efss_transfer_look_duration_seconds",
            "Duration of looks at storages.",
            ("kind",),
            buckets=_LOOK_BUCKETS,
            registry=self._registry,
        )

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its media type."""
        from prometheus_client.exposition import choose_encoder

        # The library fails on a version that is not a number, and echoes it: parse the header here.
        accepted = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
        encode, kind = choose_encoder(_OPENMETRICS if _OPENMETRICS in accepted else "")
        return encode(self._registry), kind
