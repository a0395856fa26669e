"""Decides which files are copied: by size, and by whether the source changed after the upload.

A third-party copy keeps no modification times: the destination's is that of the upload.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from efss_transfer.model.request import Options
from efss_transfer.model.result import Reason
from efss_transfer.webdav.listings import Named


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a listing says of a file; `modified` is in seconds since 1970, None if unknown."""

    size: int | None
    modified: float | None


def info(entry: Named) -> FileInfo:
    """What an entry says of its file."""
    text = entry.entry.get("getlastmodified") or ""
    try:
        modified = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        modified = None
    return FileInfo(entry.size, modified)


def reason_to_skip(options: Options, ours: FileInfo, theirs: FileInfo | None) -> Reason | None:
    """Why a file need not be copied; None if it must be, or if its checksum decides.

    `theirs` is what the destination has, if anything.
    """
    if theirs is None or options.overwrite == "always":
        return None
    if options.overwrite == "never":
        return Reason.EXISTS
    is_same_size = ours.size is not None and ours.size == theirs.size
    is_newer = _is_newer(ours, theirs)
    if options.overwrite == "newer":
        if is_newer:
            return None
        return Reason.SAME if is_same_size else Reason.OLDER
    if not is_same_size or options.compare == "checksum":
        return None
    return Reason.SAME if options.compare == "size" or not is_newer else None


def may_be_same(options: Options, ours: FileInfo, theirs: FileInfo | None) -> bool:
    """Whether checksums decide about a file."""
    return (
        theirs is not None
        and options.overwrite == "changed"
        and options.compare == "checksum"
        and ours.size == theirs.size
    )


def _is_newer(ours: FileInfo, theirs: FileInfo) -> bool:
    """Whether the source may have changed since the upload."""
    return ours.modified is None or theirs.modified is None or ours.modified > theirs.modified
