"""Collects what a plan needs besides a dry run: totals, free space, and the rate of reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from efss_transfer.engines.base import Survey
from efss_transfer.engines.rclone.rc.jobs import JobRunner, TransferInterrupted
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event, FileDone
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, Reason, Result, State
from efss_transfer.model.verification import VerifyMode

_ABOUT: Final = "operations/about"
_ABOUT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 3.0
# The time of reading a smaller file is mostly that of the call.
_SMALLEST_MEASURED: Final = 8 << 20


def dry_run(request: TransferRequest) -> TransferRequest:
    """The request without anything that writes, compares content or notifies."""
    options = replace(request.options, dry_run=True, verify=VerifyMode.NONE)
    return replace(request, options=options, notify=None)


class Surveyor:
    """Counts the files of a dry run, and then measures. `measure_rate` reads from a file."""

    def __init__(self, *, measure_rate: bool) -> None:
        self._measure_rate = measure_rate
        self._began = time.monotonic()
        self._files = self._bytes = self._unsized = self._present = 0
        self._largest: tuple[str, int] | None = None
        self._free: int | None = None
        self._rate: float | None = None
        self._seconds = 0.0

    def count(self, events: Generator[Event, None, None]) -> Iterator[Event]:
        """Count the outcomes of files among the events, and pass the other events on."""
        with closing(events):  # At once: an abandoned copy must stop before the clean-up.
            for event in events:
                if isinstance(event, FileDone):
                    self._count_file(event.outcome)
                else:
                    yield event

    def _count_file(self, outcome: FileOutcome) -> None:
        if outcome.reason is not Reason.DRY_RUN:
            self._present += 1
            return
        size = outcome.size
        self._files += 1
        if size is None:  # known only at the file's end
            self._unsized += 1
            return
        self._bytes += size
        if self._largest is None or size > self._largest[1]:
            self._largest = (outcome.path, size)

    def measure(
        self, run: RunContext, folder: str, destination: RemotePath
    ) -> Generator[Event, None, None]:
        """Ask for the free space at the destination, and read from the largest file below the fs
        `folder`. Call it after the dry run. Its failures are not reported: the value stays None.
        """
        for outcome in run.outcomes.drain():
            self._count_file(outcome)
        self._seconds = time.monotonic() - self._began
        if run.outcomes.errors:
            return  # A plan needs a dry run without errors.
        run.log.finish_at(_ABOUT)
        try:
            self._free = yield from self._free_space(run, destination)
            if self._measure_rate and self._largest is not None:
                path, size = self._largest
                if size >= _SMALLEST_MEASURED:
                    self._rate = yield from self._read_rate(run, folder, path)
        except TransferInterrupted as interruption:
            if interruption.state is not State.INCOMPLETE:
                raise

    def survey(self, result: Result) -> Survey:
        """The survey, with the result of the dry run."""
        return Survey(
            result,
            self._files,
            self._bytes,
            self._unsized,
            self._largest,
            self._present,
            self._free,
            self._rate,
            self._seconds,
        )

    def _free_space(
        self, run: RunContext, destination: RemotePath
    ) -> Generator[Event, None, int | None]:
        """The free bytes at the destination."""
        jobs = JobRunner(run, ProgressReporter(run), _timeout(_ABOUT_SECONDS))
        # The folder may have a quota of its own, and may not exist yet.
        for fs in dict.fromkeys((destination.fs, f"{destination.remote.name}:")):
            job = yield from jobs.run(_ABOUT, {"fs": fs})
            free = job.output.get("free")
            if isinstance(free, int) and free >= 0:
                return free
        return None

    def _read_rate(
        self, run: RunContext, folder: str, path: str
    ) -> Generator[Event, None, float | None]:
        """The bytes per second in which a file is read over one connection. rclone reads the file
        to compute its checksum, and is stopped if that takes long.
        """
        jobs = JobRunner(run, ProgressReporter(run), _timeout(_READ_SECONDS))
        bytes_before, began = _bytes_read(run.rc.stats()), time.monotonic()
        file = {"fs": folder, "remote": path, "hashType": "md5", "download": True}
        job = yield from jobs.run("operations/hashsumfile", file)
        seconds = time.monotonic() - began
        read = _bytes_read(jobs.stats) - bytes_before
        has_failed = job.error and seconds < _READ_SECONDS
        return None if has_failed or read <= 0 else read / seconds


def _timeout(seconds: float) -> Callable[[], bool]:
    """Tells whether that many seconds have passed since this call."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _bytes_read(stats: dict[str, Any]) -> int:
    return int(stats.get("bytes") or 0)
