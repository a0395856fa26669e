"""A quick look at the source before the copy: how large are the large files, and may they be
read in parts?

It is bounded in time, and nothing that goes wrong in it counts: the copy finds it, too.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any, Final

from efss_transfer.engines.base import Context, Selection
from efss_transfer.engines.rclone import failures, orders, ranges
from efss_transfer.engines.rclone.bench import Bench
from efss_transfer.engines.rclone.log import Record
from efss_transfer.engines.rclone.rc import Rc, Work
from efss_transfer.engines.rclone.remotes import Place
from efss_transfer.engines.rclone.tuning import CHUNKED, LARGE, UNSEEN, Bounds, Seen, checking
from efss_transfer.events import Event
from efss_transfer.result import Side

# A listing that takes longer is one of many folders, whose files keep all transfers busy.
_LOOK_SECONDS: Final = 2.0
_STEP_SECONDS: Final = 0.1
# All that a source is asked to prove that it gives parts of a file, at once.
_PROBES: Final = 3
_OPTIONS: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}


class Scout:
    """Looks at the source. Its methods are generators: they yield events while they wait."""

    def __init__(self, rc: Rc, record: Record, bench: Bench, context: Context) -> None:
        self._rc = rc
        self._record = record
        self._bench = bench
        self._context = context
        self._until = 0.0

    def look(
        self,
        source: Place,
        destination: Place,
        selection: Selection,
        bounds: Bounds,
        config: Mapping[str, Any],
    ) -> Generator[Event, None, Seen]:
        """What a look at the source shows. Meanwhile the destination is opened with the copy's
        `config`, which rclone does by itself only when it has opened the source.
        """
        self._until = time.monotonic() + _LOOK_SECONDS
        with self._record.aside():
            opening = self._rc.begin_look(
                "operations/fsinfo", {"fs": destination.fs, "_config": dict(config)}
            )
            seen = yield from self._seen(source, destination, selection, bounds)
            # The copy would have to wait for it as well.
            opened = (yield from self._end(opening)) and not opening.error
            if not opened:
                # rclone keeps what it took for a file, and would not say once more why.
                self._rc.forget_storages()
            # Behind this line of the log there is none of the look's.
            self._rc.mark()
            self._record.settle("rc/noop", 1, _LOOK_SECONDS)
            if opened:
                # Of two that are opened at the same time the last is chance; where the copy
                # opens them it is the destination.
                self._record.touched = Side.DESTINATION
            return seen

    def _seen(
        self, source: Place, destination: Place, selection: Selection, bounds: Bounds
    ) -> Generator[Event, None, Seen]:
        found = yield from self._sizes(source, destination, selection, bounds)
        if found is None:
            return UNSEEN
        fs, sizes = found
        path, largest = max(sizes.items(), key=lambda item: item[1], default=("", 0))
        # Only what takes parts in any order is sent by several streams.
        parted = largest >= LARGE and destination.remote.backend in CHUNKED
        rate = None
        if parted and source.remote != destination.remote and self._context.must_end() is None:
            at_once = min(_PROBES, bounds.most or _PROBES)
            rate = ranges.rate(self._rc, fs, path, largest, at_once=at_once)
        large = sum(size >= LARGE for size in sizes.values())
        return Seen(large, largest, rate)

    def _sizes(
        self, source: Place, destination: Place, selection: Selection, bounds: Bounds
    ) -> Generator[Event, None, tuple[str, dict[str, int]] | None]:
        """The sizes that matter by path, and the fs that the paths are of; None if they are
        not to be had.
        """
        if selection.files is not None:
            if any(file.size is None for file in selection.files):
                return None
            return source.fs, {file.path: file.size or 0 for file in selection.files}
        filters = orders.filters(selection)
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
        if found is not None and failures.IS_A_FILE in found.error:
            found = yield from self._done(
                "operations/stat", fs=source.parent, remote=source.name, opt=_OPTIONS
            )
            item = found.output.get("item") if found is not None else None
            if item:
                return source.parent, {source.name: int(item["Size"])}
        return None

    def _done(self, call: str, **parameters: object) -> Generator[Event, None, Work | None]:
        """The call once it is done; None if it took too long and was stopped."""
        work = self._rc.begin_look(call, parameters)
        return work if (yield from self._end(work)) else None

    def _end(self, work: Work) -> Generator[Event, None, bool]:
        """Wait for its end; whether it came by itself, and it was not stopped."""
        while not work.wait(_STEP_SECONDS):
            if time.monotonic() > self._until or self._context.must_end() is not None:
                self._rc.end_looks()
                work.wait(_LOOK_SECONDS)
                return False
            yield from self._bench.news()
        return True
