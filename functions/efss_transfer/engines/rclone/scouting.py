"""A quick look at the source before the copy: are there large files, and may they be read in
parts?

It is bounded in time, and nothing that goes wrong in it counts: the copy finds it, too. It is
had only where it decides something, which is where the destination takes parts.
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
from efss_transfer.engines.rclone.tuning import CHUNKED, LARGE, UNSEEN, Seen

# A listing that takes longer is one of many folders, whose files keep all transfers busy.
_LOOK_SECONDS: Final = 1.0
_STEP_SECONDS: Final = 0.1
_OPTIONS: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}


def scout(
    rc: Rc,
    record: Record,
    source: Place,
    destination: Place,
    selection: Selection,
    must_end: Callable[[], object],
) -> Seen:
    """What a look at the source shows."""
    if destination.remote.backend not in CHUNKED or source.remote == destination.remote:
        return UNSEEN
    with record.aside():
        try:
            return _look(rc, source, selection, must_end)
        finally:
            rc.mark()
            record.settle("rc/noop", 1, _LOOK_SECONDS)


def _look(rc: Rc, source: Place, selection: Selection, must_end: Callable[[], object]) -> Seen:
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

    large = _listed(selection)
    place = source.fs
    if large is None:
        filters = orders.filters(selection)
        filters["MinSize"] = max(filters.get("MinSize", 0), LARGE)
        found = done("operations/list", fs=place, remote="", opt=_OPTIONS, _filter=filters)
        if found is None:
            return UNSEEN
        if failures.IS_A_FILE in found.error:
            place = source.parent
            found = done("operations/stat", fs=place, remote=source.name, opt=_OPTIONS)
            item = found.output.get("item") if found is not None else None
            large = {source.name: int(item["Size"])} if item and item["Size"] >= LARGE else {}
        elif found.error:
            return UNSEEN
        else:
            large = {item["Path"]: int(item["Size"]) for item in found.output.get("list") or ()}
    if not large:
        return Seen(0)
    path, size = max(large.items(), key=lambda item: item[1])
    return Seen(len(large), must_end() is None and ranges.honoured(rc, place, path, size))


def _listed(selection: Selection) -> dict[str, int] | None:
    """The large ones of the files that are listed, as far as their sizes are known."""
    if selection.files is None:
        return None
    return {file.path: size for file in selection.files if (size := file.size or 0) >= LARGE}
