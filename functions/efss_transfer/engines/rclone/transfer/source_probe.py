"""A quick look at the source before the copy: how large are the large files, and may they be
read in parts?

It is bounded in time, and nothing that goes wrong in it counts: the copy finds it, too.

Some servers of WebDAV and HTTP ignore `Range`, and answer with the whole file. rclone does
not notice: each of its streams then writes the file's beginning, and the copy has the right
size and the wrong content (rclone-facts.md, "Data corruption"). So the very file that would
be read in parts is asked for two of them first.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.client import Job, RcClient
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.transfer.tuning import (
    CHUNKED,
    LARGE,
    UNSEEN,
    LargeFiles,
    TuningLimits,
    checking,
)
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Side

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.rc.unix_http import FileRange

_BLOCK: Final = 64
_STEP: Final = 4096
_BEGINNING: Final = 256 << 10
_SILENCE_SECONDS: Final = 2.0
_PROOF_SECONDS: Final = 2.0
# So much is more than what a limit on connections lets pass at once before it holds them.
_PACED: Final = 4 << 20
_PACED_SECONDS: Final = 0.25
_INSTANT: Final = 1e-6
# A listing that takes longer is one of many folders, whose files keep all transfers busy.
_LOOK_SECONDS: Final = 2.0
_STEP_SECONDS: Final = 0.1
# All that a source is asked to prove that it gives parts of a file, at once.
_PROBES: Final = 3
_OPTIONS: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}


class SourceProbe:
    """Looks at the source. Its methods are generators: they yield events while they wait."""

    def __init__(self, rc: RcClient, record: LogParser, bench: JobRunner, context: Context) -> None:
        self._rc = rc
        self._record = record
        self._bench = bench
        self._context = context
        self._until = 0.0

    def look(
        self,
        source: RemotePath,
        destination: RemotePath,
        selection: Selection,
        bounds: TuningLimits,
        config: Mapping[str, Any],
    ) -> Generator[Event, None, LargeFiles]:
        """What a look at the source shows. Meanwhile the destination is opened with the copy's
        `config`, which rclone does by itself only when it has opened the source.
        """
        self._until = time.monotonic() + _LOOK_SECONDS
        with self._record.aside():
            opening = self._rc.start_probe(
                "operations/fsinfo", {"fs": destination.fs, "_config": dict(config)}
            )
            seen = yield from self._seen(source, destination, selection, bounds)
            # The copy would have to wait for it as well.
            opened = (yield from self._end(opening)) and not opening.error
            if not opened:
                # rclone keeps what it took for a file, and would not say once more why.
                self._rc.clear_fs_cache()
            # Behind this line of the log there is none of the look's.
            self._rc.write_log_marker()
            self._record.settle("rc/noop", 1, _LOOK_SECONDS)
            if opened:
                # Of two that are opened at the same time the last is chance; where the copy
                # opens them it is the destination.
                self._record.touched = Side.DESTINATION
            return seen

    def _seen(
        self,
        source: RemotePath,
        destination: RemotePath,
        selection: Selection,
        bounds: TuningLimits,
    ) -> Generator[Event, None, LargeFiles]:
        found = yield from self._sizes(source, destination, selection, bounds)
        if found is None:
            return UNSEEN
        fs, sizes = found
        path, largest = max(sizes.items(), key=lambda item: item[1], default=("", 0))
        # Only what takes parts in any order is sent by several streams.
        parted = largest >= LARGE and destination.remote.backend in CHUNKED
        rate = None
        if parted and source.remote != destination.remote and self._context.end_state() is None:
            at_once = min(_PROBES, bounds.most or _PROBES)
            rate = stream_rate(self._rc, fs, path, largest, at_once=at_once)
        large = sum(size >= LARGE for size in sizes.values())
        return LargeFiles(large, largest, rate)

    def _sizes(
        self,
        source: RemotePath,
        destination: RemotePath,
        selection: Selection,
        bounds: TuningLimits,
    ) -> Generator[Event, None, tuple[str, dict[str, int]] | None]:
        """The sizes that matter by path, and the fs that the paths are of; None if they are
        not to be had.
        """
        if selection.files is not None:
            if any(file.size is None for file in selection.files):
                return None
            return source.fs, {file.path: file.size or 0 for file in selection.files}
        filters = rc_config.filter_options(selection)
        filters["MinSize"] = max(filters.get("MinSize", 0), bounds.matters)
        at_once = checking(source.remote, destination.remote, bounds)
        found = yield from self._done(
            "operations/list",
            fs=source.fs,
            remote="",
            opt=_OPTIONS,
            _filter=filters,
            _config={"Checkers": at_once},
        )
        if found is not None and not found.error:
            listed = found.output.get("list") or ()
            return source.fs, {item["Path"]: int(item["Size"]) for item in listed}
        if found is not None and error_codes.IS_A_FILE in found.error:
            found = yield from self._done(
                "operations/stat", fs=source.parent, remote=source.name, opt=_OPTIONS
            )
            item = found.output.get("item") if found is not None else None
            if item:
                return source.parent, {source.name: int(item["Size"])}
        return None

    def _done(self, call: str, **parameters: object) -> Generator[Event, None, Job | None]:
        """The call once it is done; None if it took too long and was stopped."""
        work = self._rc.start_probe(call, parameters)
        return work if (yield from self._end(work)) else None

    def _end(self, work: Job) -> Generator[Event, None, bool]:
        """Wait for its end; whether it came by itself, and it was not stopped."""
        while not work.wait(_STEP_SECONDS):
            if time.monotonic() > self._until or self._context.end_state() is not None:
                self._rc.stop_probes()
                work.wait(_LOOK_SECONDS)
                return False
            yield from self._bench.news()
        return True


def stream_rate(rc: RcClient, fs: str, path: str, size: int, *, at_once: int = 3) -> float | None:
    """How many bytes a second of this file come by one connection, if this storage has shown
    that it gives parts of it as they are; None if it has not.

    Read from its beginning, without a range, the file shows what stands where; a part that
    differs from the beginning is then asked for by itself. A file that repeats itself shows
    nothing, and so it is not read in parts. So many are read `at_once`: from far away each
    takes longer for its way than for its bytes.
    """
    if size < 2 * _BEGINNING:
        return None

    def read(first: int, count: int, enough: float = _PROOF_SECONDS) -> FileRange:
        return rc.read_range(fs, path, first, count, timeout=_SILENCE_SECONDS, max_seconds=enough)

    def paced() -> float:
        # Far from the beginning, too: what is kept in a cache may be answered by another.
        count = min(_PACED, size - _BEGINNING)
        end = read(size - count, count, _PACED_SECONDS)
        # From its first byte: how far away it is says nothing of how fast it comes.
        return len(end.content) / max(end.seconds, _INSTANT) if len(end.content) >= _BLOCK else 0.0

    likely = _BEGINNING - _STEP
    with ThreadPoolExecutor(at_once, "rclone-ranges") as reading:
        whole, part = reading.submit(read, 0, _BEGINNING), reading.submit(read, likely, _BLOCK)
        pace = reading.submit(paced)
        beginning, shown = whole.result().content, part.result().content
    if len(beginning) < _BEGINNING:
        return None
    at = next(
        (
            first
            for first in range(likely, 0, -_STEP)
            if beginning[first : first + _BLOCK] != beginning[:_BLOCK]
        ),
        0,
    )
    if at != likely:
        shown = read(at, _BLOCK).content if at else b""
    return pace.result() or None if at and shown == beginning[at : at + _BLOCK] else None
