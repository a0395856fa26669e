"""What servers leave out of their listings or spell oddly in them, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class OddListing(NamedTuple):
    """Something that servers do. `remedy`: what to do about it."""

    server: str
    answer: str
    remedy: str


_INTRODUCTION: Final = (
    "rclone leaves out entries of a listing that it cannot use, and succeeds without them. The "
    "service reads them from rclone's log, in a copy, a dry run, a plan, a shard and a "
    "verification. Each row is a test in `tests/integration/failures` (`test_lost_entries.py`, "
    "`test_linked_folders.py`), through the HTTP API."
)

ODD_LISTINGS: Final[Mapping[str, Sequence[OddListing]]] = {
    "http": (
        OddListing(
            "It refuses HEAD for a file that its index links to (401, 403, 405, 410, 500, 503).",
            "A failed file with its code, at the source. An error of 500 or above is retried.",
            "Allow HEAD for the file, or exclude it.",
        ),
        OddListing(
            "Its index links to a file that does not exist (404), such as a dangling link.",
            "Not copied, and no failure.",
            "None is needed.",
        ),
        OddListing(
            "Its index links to folders without a `/` at the end.",
            "`unsupported` for each of these folders, whose page arrives in its place.",
            "Set `no_slash`, delete the pages at the destination, and repeat the transfer.",
        ),
    ),
    "s3": (
        OddListing(
            "It ignores `encoding-type=url`, and a key has a `%` that begins no escape.",
            "`name_refused` at the source, for the file or the folder.",
            "Set `provider` to `Other`: then keys are taken as they are listed.",
        ),
        OddListing(
            "It lists the keys of a folder in another spelling (case, a leading slash, with the "
            "bucket, without the folder).",
            "`storage_error` at the source, with both spellings. As a destination it gets all "
            "files again in each transfer.",
            "Spell the folder in `path` as the server does.",
        ),
        OddListing(
            "It ignores `prefix`, and lists other folders as well.",
            "The files of the folder are copied.",
            "None is needed.",
        ),
    ),
}


def odd_listings(storage_type: str) -> str:
    """The table of a storage type; empty if nothing is known of it."""
    if storage_type not in ODD_LISTINGS:
        return ""
    lines = [
        f"### Listings of {storage_type} servers",
        "",
        _INTRODUCTION,
        "",
        "| the server | the answer | what to do |",
        "|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in ODD_LISTINGS[storage_type]]
    return "\n".join(lines)
