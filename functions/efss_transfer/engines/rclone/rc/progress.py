"""Reports the progress of a run as events, from rclone's statistics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event, FileDone, InFlight, Phase, Progress

_PROGRESS_SECONDS: Final = 0.5


class ProgressReporter:
    """Yields the outcomes of files as they arrive, and `Progress` twice a second."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._expected_files = 0
        self._expected_bytes = 0
        self._due = time.monotonic() + _PROGRESS_SECONDS
        self.phase = Phase.COPYING
        self.attempt = 1

    def events(self) -> Iterator[Event]:
        """The events since the last call. The log is read without a bound except while their
        consumer holds one: see FileOutcomes.bounded.
        """
        for outcome in self._run.outcomes.drain():
            with self._run.outcomes.bounded():
                yield FileDone(outcome)
        if time.monotonic() < self._due:
            return
        progress = self._progress(self._run.rc.stats())
        self._due = time.monotonic() + _PROGRESS_SECONDS
        with self._run.outcomes.bounded():
            yield progress

    def _progress(self, stats: Mapping[str, Any]) -> Progress:
        eta = stats.get("eta")
        # rclone's own totals drop for a moment whenever a file is done; a progress bar must not.
        self._expected_files = max(self._expected_files, int(stats.get("totalTransfers") or 0))
        self._expected_bytes = max(self._expected_bytes, int(stats.get("totalBytes") or 0))
        return Progress(
            totals=self._run.outcomes.totals,
            current_bytes=int(stats.get("bytes") or 0),
            expected_files=self._expected_files,
            expected_bytes=self._expected_bytes,
            speed=float(stats.get("speed") or 0),
            eta_seconds=None if eta is None else float(eta),
            phase=self.phase,
            attempt=self.attempt,
            in_flight=in_flight(stats),
        )


def in_flight(stats: Mapping[str, Any]) -> tuple[InFlight, ...]:
    """The files that are being copied, from `core/stats`."""
    files = []
    for entry in stats.get("transferring") or ():
        size = int(entry.get("size", -1))
        files.append(
            InFlight(
                str(entry.get("name", "")), int(entry.get("bytes") or 0), None if size < 0 else size
            )
        )
    return tuple(files)
