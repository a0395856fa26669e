"""What a plan needs to know besides what a dry run tells: totals, room, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, Final

from efss_transfer.engines.base import Context, Survey
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.jobs import JobRunner, TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.model.events import Event, FileDone
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, Reason, Result, State, VerifyMode

_ABOUT: Final = "operations/about"
_ROOM_SECONDS: Final = 10.0
_READ_SECONDS: Final = 3.0
# A smaller file says more of how long a call takes than of how fast bytes come.
_LEAST_BYTES: Final = 8 << 20


def dry(request: TransferRequest) -> TransferRequest:
    """The request, without what it would write, read, or have told."""
    options = replace(request.options, dry_run=True, verify=VerifyMode.NONE)
    return replace(request, options=options, notify=None)


class Surveyor:
    """Counts the files of a dry run, and then looks at what else there is to know."""

    def __init__(self, stop_seconds: float, *, measure: bool) -> None:
        self._stop_seconds = stop_seconds
        self._measure = measure
        self._began = time.monotonic()
        self._files = self._bytes = self._unsized = self._there = 0
        self._largest: tuple[str, int] | None = None
        self._free: int | None = None
        self._rate: float | None = None
        self._seconds = 0.0

    def take(self, outcome: FileOutcome) -> None:
        """Count what would become of a file."""
        if outcome.reason is not Reason.DRY_RUN:
            self._there += 1
            return
        size = outcome.size or 0
        self._files += 1
        if size < 0:  # as rclone tells of a file whose size is known at its end only
            self._unsized += 1
            return
        self._bytes += size
        if self._largest is None or size > self._largest[1]:
            self._largest = (outcome.path, size)

    def look(
        self,
        rc: RcClient,
        record: LogParser,
        context: Context,
        folder: str,
        destination: RemotePath,
    ) -> Iterator[Event]:
        """Ask for room at the destination, and read of the largest file below `folder`.

        What cannot be found out is left open: it is no failure of what was counted.
        """
        for outcome in record.outcomes():
            yield FileDone(outcome)
        self._seconds = time.monotonic() - self._began
        if record.errors:
            return  # there is no plan without all of it
        record.rest_from(_ABOUT)
        bench = JobRunner(rc, record, context, self._stop_seconds)
        try:
            self._free = yield from self._room(bench, destination)
            if self._measure and self._largest is not None and self._largest[1] >= _LEAST_BYTES:
                self._rate = yield from self._read(rc, bench, folder, self._largest[0])
        except TransferInterrupted as interrupted:
            if interrupted.state is not State.INCOMPLETE:
                raise

    def found(self, result: Result) -> Survey:
        """All that was seen."""
        return Survey(
            result,
            self._files,
            self._bytes,
            self._unsized,
            self._largest,
            self._there,
            self._free,
            self._rate,
            self._seconds,
        )

    def _room(
        self, bench: JobRunner, destination: RemotePath
    ) -> Generator[Event, None, int | None]:
        _give_up_after(bench, _ROOM_SECONDS)
        # The folder may have room of its own, and may not be there yet.
        for fs in dict.fromkeys((destination.fs, f"{destination.remote.name}:")):
            work = yield from bench.done(_ABOUT, fs=fs)
            free = work.output.get("free")
            if isinstance(free, int) and free >= 0:
                return free
        return None

    def _read(
        self, rc: RcClient, bench: JobRunner, folder: str, path: str
    ) -> Generator[Event, None, float | None]:
        """How many bytes of a file come in a second, in one stream: rclone reads it to hash
        it, and is stopped when that takes long.
        """
        _give_up_after(bench, _READ_SECONDS)
        before, began = _moved(rc.stats()), time.monotonic()
        work = yield from bench.done(
            "operations/hashsumfile", fs=folder, remote=path, hashType="md5", download=True
        )
        seconds = time.monotonic() - began
        moved = _moved(bench.stats) - before
        broke_off = work.error and seconds < _READ_SECONDS
        return None if broke_off or moved <= 0 else moved / seconds


def _give_up_after(bench: JobRunner, seconds: float) -> None:
    until = time.monotonic() + seconds
    bench.give_up = lambda: time.monotonic() >= until


def _moved(stats: dict[str, Any]) -> int:
    return int(stats.get("bytes") or 0)
