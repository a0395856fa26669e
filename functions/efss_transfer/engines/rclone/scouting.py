"""A quick look at the source before the copy: how large are the large files, and may they be
read in parts?

It is bounded in time, and nothing that goes wrong in it counts: the copy finds it, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from efss_transfer.engines.base import Selection
from efss_transfer.engines.rclone import failures, orders, ranges
from efss_transfer.engines.rclone.log import Record
from efss_transfer.engines.rclone.rc import Rc, Work
from efss_transfer.engines.rclone.remotes import Place
from efss_transfer.engines.rclone.tuning import CHUNKED, LARGE, UNSEEN, Bounds, Seen, checking

# A listing that takes longer is one of many folders, whose files keep all transfers busy.
_LOOK_SECONDS: Final = 2.0
_STEP_SECONDS: Final = 0.1
_OPTIONS: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}


def scout(
    rc: Rc,
    record: Record,
    source: Place,
    destination: Place,
    selection: Selection,
    bounds: Bounds,
    must_end: Callable[[], object],
) -> Seen:
    """What a look at the source shows."""
    with record.aside():
        try:
            found = _look(rc, source, destination, selection, bounds, must_end)
            if found is None:
                return UNSEEN
            place, sizes = found
            path, largest = max(sizes.items(), key=lambda item: item[1], default=("", 0))
            # Only what takes parts in any order is sent by several streams.
            parted = largest >= LARGE and destination.remote.backend in CHUNKED
            in_parts = parted and source.remote != destination.remote and must_end() is None
            return Seen(
                large=sum(size >= LARGE for size in sizes.values()),
                largest=largest,
                in_parts=in_parts and ranges.honoured(rc, place, path, largest),
            )
        finally:
            rc.mark()
            record.settle("rc/noop", 1, _LOOK_SECONDS)


def _look(
    rc: Rc,
    source: Place,
    destination: Place,
    selection: Selection,
    bounds: Bounds,
    must_end: Callable[[], object],
) -> tuple[str, dict[str, int]] | None:
    """Where the files are whose sizes matter, and their sizes; None if that is not known."""
    until = time.monotonic() + _LOOK_SECONDS

    def done(call: str, **parameters: object) -> Work | None:
        """The call once it is done; None if it took too long and was stopped."""
        work = rc.begin_look(call, parameters)
        while not work.wait(_STEP_SECONDS):
            if time.monotonic() > until or must_end() is not None:
                rc.end_looks()
                work.wait(_LOOK_SECONDS)
                return None
        return work

    if selection.files is not None:
        if any(file.size is None for file in selection.files):
            return None
        return source.fs, {file.path: file.size or 0 for file in selection.files}
    filters = orders.filters(selection)
    filters["MinSize"] = max(filters.get("MinSize", 0), bounds.matters)
    at_once = {"Checkers": checking(source.remote, destination.remote, bounds.most)}
    found = done(
        "operations/list", fs=source.fs, remote="", opt=_OPTIONS, _filter=filters, _config=at_once
    )
    if found is not None and not found.error:
        listed = found.output.get("list") or ()
        return source.fs, {item["Path"]: int(item["Size"]) for item in listed}
    if found is not None and failures.IS_A_FILE in found.error:
        found = done("operations/stat", fs=source.parent, remote=source.name, opt=_OPTIONS)
        item = found.output.get("item") if found is not None else None
        if item:
            return source.parent, {source.name: int(item["Size"])}
    return None
