"""What a request's options and selection are in rclone's words: `_config` and `_filter`.

rclone passes over a name that it does not know, so every one here has a test which shows
that it does what it says.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.request import Selection, TransferRequest

_OVERWRITE: Final[dict[str, dict[str, Any]]] = {
    "changed": {},
    "newer": {"UpdateOlder": True},
    "never": {"IgnoreExisting": True},
    "always": {"IgnoreTimes": True},
}
_COMPARE: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "size": {"SizeOnly": True},
    "checksum": {"CheckSum": True},
}
_NANOSECONDS: Final = 1_000_000_000
_TICK: Final = timedelta(milliseconds=1)


def destination_lookup(selection: Selection) -> dict[str, Any]:
    """What decides how the destination is looked at."""
    # rclone holds a filter by size or time against the destination's files as well, and
    # takes one that it leaves out for one that is not there: it would be written over, even
    # with `never`. Looked up one by one they are all seen.
    return {"NoTraverse": True} if selection.by_attribute else {}


def copy_config(request: TransferRequest) -> dict[str, Any]:
    """`_config` for a copy, besides what makes it fast."""
    options, selection = request.options, request.selection
    config: dict[str, Any] = {
        **_OVERWRITE[options.overwrite],
        **_COMPARE[options.compare],
        **destination_lookup(selection),
    }
    if request.destination.parameters.get("vendor") == "nextcloud":
        # It puts chunks together at the end: what is refused then (423), or takes too long to
        # answer (504), would have all of the file sent again, into the same chunks. Another
        # attempt looks first whether the file is there.
        config["LowLevelRetries"] = 1
    if options.metadata:
        config["Metadata"] = True
    if options.dry_run:
        config["DryRun"] = True
    return config


def cutoff(seconds: float) -> dict[str, Any]:
    """`_config` to begin with no file any more after so long, and to end those begun."""
    return {"MaxDuration": int(seconds * _NANOSECONDS), "CutoffMode": "SOFT"}


def filter_options(selection: Selection) -> dict[str, Any]:
    """`_filter` for a selection; of rules the first that matches decides."""
    rules = [f"- {glob}" for glob in selection.exclude]
    rules += [f"+ {glob}" for glob in selection.include]
    if selection.include:
        rules.append("- **")
    found: dict[str, Any] = {"FilterRule": rules} if rules else {}
    # Numbers are bytes; a text without a unit would be KiB.
    if selection.min_size is not None:
        found["MinSize"] = selection.min_size
    if selection.max_size is not None:
        found["MaxSize"] = selection.max_size
    # rclone makes an age of a time, and a time of the age a moment later: a file that was
    # modified just then must not fall out by that.
    if selection.modified_after is not None:
        found["MaxAge"] = _time(selection.modified_after, -_TICK)
    if selection.modified_before is not None:
        found["MinAge"] = _time(selection.modified_before, _TICK)
    if selection.shard is not None:
        found["HashFilter"] = str(selection.shard)
    return found


def filter_parameter(selection: Selection) -> dict[str, Any]:
    """The parameter `_filter` of a call, if there is anything to filter."""
    found = filter_options(selection)
    return {"_filter": found} if found else {}


def check_filters(rc: RcClient, selection: Selection) -> None:
    """Ask rclone whether it understands the patterns: it alone knows.

    Raises InvalidRequest, which names each that it does not.
    """
    if not (selection.include or selection.exclude):
        return
    try:
        rc.check_filter(filter_options(selection))
    except RcError:
        wrong = [
            Violation(f"/selection/{name}/{index}", "format", "No glob: see its description.")
            for name, globs in (("include", selection.include), ("exclude", selection.exclude))
            for index, glob in enumerate(globs)
            if not _understood(rc, glob)
        ]
        if not wrong:
            text = "The patterns cannot be used together."
            wrong = [Violation("/selection", "format", text)]
        raise InvalidRequest(wrong) from None


def _understood(rc: RcClient, glob: str) -> bool:
    try:
        rc.check_filter({"FilterRule": [f"- {glob}"]})
    except RcError:
        return False
    return True


def _time(moment: datetime, shift: timedelta) -> str:
    with suppress(OverflowError):  # the calendar's first and last moment need no tolerance
        moment += shift
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
