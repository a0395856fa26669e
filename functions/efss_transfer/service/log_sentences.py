"""How the log names endpoints and the end of a transfer, in words and as members of a line."""

from __future__ import annotations

from typing import Final

from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import ErrorGroup, Json, Result

_MOST_GROUPS: Final = 5


def endpoint(end: Endpoint) -> str:
    """An endpoint in a log line: its type, or its name in the site file."""
    return end.type if end.storage is None else f"{end.storage!r} ({end.type})"


def ends(request: TransferRequest) -> str:
    """Both ends of a transfer in a log line."""
    return f"from {endpoint(request.source)} to {endpoint(request.destination)}"


def members_of(ended: Result) -> dict[str, Json]:
    """The members of the line about the end of a transfer: its counts, and its errors by side."""
    totals = ended.totals
    groups = sorted(ended.errors, key=lambda group: group.count, reverse=True)
    sides = {group.side for group in groups if group.code == ended.code} or {
        group.side for group in groups
    }
    [side] = sides if len(sides) == 1 else [None]
    return {
        "side": side and side.value,
        "files_transferred": totals.transferred,
        "files_skipped": totals.skipped,
        "files_failed": totals.failed,
        "bytes_transferred": totals.transferred_bytes,
        "errors": [
            {"code": group.code, "side": group.side and group.side.value, "count": group.count}
            for group in groups[:_MOST_GROUPS]
        ]
        or None,
    }


def sentence(ended: Result) -> str:
    """The end of a transfer for people: its state, its errors with their codes, its counts."""
    totals, why = ended.totals, ""
    groups = sorted(ended.errors, key=lambda group: group.count, reverse=True)
    if groups:
        more = len(groups) - _MOST_GROUPS
        why = ": " + ", ".join(map(_cause, groups[:_MOST_GROUPS]))
        why += f" and {more} more" if more > 0 else ""
    elif ended.code is not None:
        why = f": {ended.code}"
    return (
        f"{ended.state.value}{why}; files: {totals.transferred} transferred, {totals.skipped} "
        f"skipped, {totals.failed} failed; {totals.transferred_bytes} bytes transferred"
    )


def _cause(group: ErrorGroup) -> str:
    times = f"{group.count} " if group.count > 1 else ""
    return f"{times}{group.code}" + ("" if group.side is None else f" ({group.side.value})")
