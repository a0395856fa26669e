"""rclone's `_config` and `_filter` for a request's options and selection.

rclone ignores names that it does not know, so each name here has a test that shows its effect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
# Files of unknown size are read into memory first, because some storages need the size before the
# file. Of longer ones rclone would make a file on disk, which it may not.
_LONGEST_UNSIZED: Final = 1 << 20
_SPECIAL: Final = re.compile(r"([\\*?\[\]{}])")
_NANOSECONDS: Final = 1_000_000_000
_TOLERANCE: Final = timedelta(milliseconds=1)


def destination_lookup(selection: Selection) -> dict[str, Any]:
    """The `_config` members that decide how rclone looks up files at the destination."""
    # rclone applies a filter by size or time to the destination's listing as well, and takes a
    # file that is filtered out for a missing one: it would be overwritten, even with `never`.
    # With NoTraverse each file is looked up by its name, and found.
    return {"NoTraverse": True} if selection.by_attribute else {}


def copy_config(request: TransferRequest) -> dict[str, Any]:
    """The `_config` of a copy, without the members that tune its speed."""
    options, selection = request.options, request.selection
    config: dict[str, Any] = {
        **_OVERWRITE[options.overwrite],
        **_COMPARE[options.compare],
        **destination_lookup(selection),
        "StreamingUploadCutoff": _LONGEST_UNSIZED,
    }
    if request.destination.parameters.get("vendor") == "nextcloud":
        # Nextcloud assembles the chunks at the end. If it then refuses (423) or is too slow
        # (504), a low-level retry would send the whole file again, into the same chunks. The
        # next attempt checks first whether the file has arrived.
        config["LowLevelRetries"] = 1
    if options.metadata:
        config["Metadata"] = True
    if options.dry_run:
        config["DryRun"] = True
    return config


def cutoff(seconds: float) -> dict[str, Any]:
    """The `_config` members that start no file after this time, and let started files end."""
    return {"MaxDuration": int(seconds * _NANOSECONDS), "CutoffMode": "SOFT"}


def filter_options(selection: Selection, first: Sequence[str] = ()) -> dict[str, Any]:
    """The `_filter` of a selection, after the rules `first`; the first that matches decides."""
    rules = [*first, *(f"- {glob}" for glob in selection.exclude)]
    rules += [f"+ {glob}" for glob in selection.include]
    if selection.include:
        rules.append("- **")
    options: dict[str, Any] = {"FilterRule": rules} if rules else {}
    # Numbers are bytes; rclone would read a text without a unit as KiB.
    if selection.min_size is not None:
        options["MinSize"] = selection.min_size
    if selection.max_size is not None:
        options["MaxSize"] = selection.max_size
    # rclone converts the time into an age, and a moment later the age into a time: a file that
    # was modified at exactly this time must not be lost in between.
    if selection.modified_after is not None:
        options["MaxAge"] = _time(selection.modified_after, -_TOLERANCE)
    if selection.modified_before is not None:
        options["MinAge"] = _time(selection.modified_before, _TOLERANCE)
    if selection.shard is not None:
        options["HashFilter"] = str(selection.shard)
    return options


def literal(path: str) -> str:
    """A pattern that matches exactly this path."""
    return _SPECIAL.sub(r"\\\1", path)


def filter_parameter(selection: Selection, first: Sequence[str] = ()) -> dict[str, Any]:
    """A call's parameter `_filter`; empty if nothing is filtered."""
    options = filter_options(selection, first)
    return {"_filter": options} if options else {}


def check_filters(rc: RcClient, selection: Selection) -> None:
    """Let rclone parse the patterns: no other parser decides as it does.

    Raises InvalidRequest, which names each invalid pattern.
    """
    if not (selection.include or selection.exclude):
        return
    try:
        rc.check_filter(filter_options(selection))
    except RcError:
        violations = [
            Violation(
                f"/selection/{name}/{index}",
                "format",
                "Not a valid pattern. See the description of this field.",
            )
            for name, globs in (("include", selection.include), ("exclude", selection.exclude))
            for index, glob in enumerate(globs)
            if not _is_valid(rc, glob)
        ]
        if not violations:
            text = "These patterns cannot be combined. Use fewer or simpler ones."
            violations = [Violation("/selection", "format", text)]
        raise InvalidRequest(violations) from None


def _is_valid(rc: RcClient, glob: str) -> bool:
    try:
        rc.check_filter({"FilterRule": [f"- {glob}"]})
    except RcError:
        return False
    return True


def _time(moment: datetime, shift: timedelta) -> str:
    with suppress(OverflowError):  # at the calendar's first and last moment
        moment += shift
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
