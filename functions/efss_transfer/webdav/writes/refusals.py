"""Texts about uploads, where the server gives none."""

from __future__ import annotations

from typing import Final

from efss_transfer.webdav.words import Words

OVERWROTE: Final = "The new file replaced one that another client had stored meanwhile."
NO_VERSION: Final = Words(
    500,
    "",
    "The server cannot store this file. If that happens again, it already has a version of the "
    "old file's time: delete the old file there, then copy the file again.",
)
NO_LENGTH: Final = Words(
    None,
    "",
    "This server takes no large file whose size is unknown before it is sent: copy it to another "
    "storage first.",
)
UNLISTED: Final = Words(
    503,
    "",
    "The listing of this file's folder failed, and the file exists. The request keeps files, so it "
    "was not replaced: send the same request again.",
)


def no_space(path: str, size: int, free: int) -> Words:
    """Say that a file does not fit, as Nextcloud says it."""
    return Words(507, "", f"Insufficient space in /{path}, {size} required, {free} available")


def name_taken(other: str) -> Words:
    """Say that a name means the file of another name, which the source has as well."""
    return Words(
        None,
        "",
        f"The server takes this name for that of another file, /{other}, which is the one that is "
        "copied: rename one of the two at the source, then copy again.",
    )
