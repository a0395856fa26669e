"""Reports the progress of a run as events, and which files stand still, from `core/stats`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import (
    Event,
    FileDone,
    InFlight,
    Phase,
    Progress,
    Wait,
    WaitReason,
)

_PROGRESS_SECONDS: Final = 0.5
_ETA_SECONDS: Final = 1.0
STALLED_SECONDS: Final = 5.0
"""A file that has not moved for this long is named if the time runs out meanwhile."""


class Stall(NamedTuple):
    """A file in flight, and for how many seconds it has not moved."""

    file: InFlight
    seconds: float


class StallWatch:
    """The files in flight, as `core/stats` had them last, and since when each has been as it is."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[InFlight, float]] = {}
        self._given_up: set[str] = set()
        self._began = time.monotonic()

    def observe(self, files: Iterable[InFlight]) -> None:
        """Take the files that are in flight now."""
        now, before = time.monotonic(), self._since
        self._since = {}
        for file in files:
            if file.path in self._given_up:
                continue
            known, since = before.get(file.path, (None, now))
            self._since[file.path] = (file, since if known == file else now)

    def give_up(self, path: str) -> None:
        """Ignore a file from now on: its copy was stopped, and rclone still waits for it."""
        self._given_up.add(path)
        self._since.pop(path, None)

    @property
    def unmoved(self) -> tuple[Stall, ...]:
        """The files that have not moved for STALLED_SECONDS, or for half of a shorter run."""
        return self.stalled(min(STALLED_SECONDS, (time.monotonic() - self._began) / 2))

    def stalled(self, seconds: float) -> tuple[Stall, ...]:
        """The files that have not moved for that long."""
        now = time.monotonic()
        stalls = (Stall(file, now - since) for file, since in self._since.values())
        return tuple(stall for stall in stalls if stall.seconds >= seconds)

    def all_stalled_for(self, seconds: float) -> bool:
        """Whether no file in flight has moved for that long. True if there is none."""
        return len(self.stalled(seconds)) == len(self._since)

    @property
    def bytes_in_flight(self) -> int:
        """How many bytes of the files in flight have arrived."""
        return sum(file.current_bytes for file, _ in self._since.values())


class ProgressReporter:
    """Yields the outcomes of files as they arrive, and `Progress` twice a second."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._expected_files = 0
        self._expected_bytes = 0
        self._due = time.monotonic() + _PROGRESS_SECONDS
        self._first_byte = time.monotonic()
        self.phase = Phase.COPYING
        self.attempt = 1
        self.next_attempt_at = 0.0
        """In the phase `waiting`, the time of `time.monotonic()` at which it ends."""
        self.stalls = StallWatch()
        """The files in flight, twice a second."""
        self.listed = 0
        """How many files and folders were listed so far, twice a second."""

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
        # rclone's own totals drop for a moment whenever a file is done; a progress bar must not.
        self._expected_files = max(self._expected_files, int(stats.get("totalTransfers") or 0))
        self._expected_bytes = max(self._expected_bytes, int(stats.get("totalBytes") or 0))
        current = int(stats.get("bytes") or 0)
        files = in_flight(stats)
        self.stalls.observe(files)
        self.listed = int(stats.get("listed") or 0)
        return Progress(
            totals=self._run.outcomes.totals,
            current_bytes=current,
            expected_files=self._expected_files,
            expected_bytes=self._expected_bytes,
            speed=float(stats.get("speed") or 0),
            eta_seconds=self._eta_seconds(stats.get("eta"), current),
            phase=self.phase,
            attempt=self.attempt,
            in_flight=files,
            waiting=self._waiting(),
        )

    def _waiting(self) -> Wait | None:
        """What a request or the whole transfer waits for, if anything."""
        if self.phase is Phase.WAITING:
            seconds = max(0.0, self.next_attempt_at - time.monotonic())
            return Wait(WaitReason.NEXT_ATTEMPT, seconds=seconds)
        waits = (record.waits.longest(side) for side, record in self._run.gateways.items())
        return max(filter(None, waits), key=lambda wait: wait.seconds or 0.0, default=None)

    def _eta_seconds(self, eta: float | None, current: int) -> float | None:
        """rclone's estimate, once it is one: before a second of copying it says 0 with hundreds of
        megabytes to go, and when every byte has moved what is left is not bytes.
        """
        now = time.monotonic()
        if not current:
            self._first_byte = now
        is_early = now - self._first_byte < _ETA_SECONDS
        if eta is None or eta <= 0 or is_early or current >= self._expected_bytes:
            return None
        return float(eta)


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
