"""Turn the paths of a list into paths that are safe at any destination, or refuse them."""

from __future__ import annotations

import re
from typing import Final

LONGEST_PATH: Final = 4096
DEEPEST: Final = 255
REFUSED: Final = (
    "Not a path that can be copied: it must be relative, without `..`, a part that looks like it, "
    "or control characters."
)
# What another program may take for a slash or for dots: as in the request's schema.
_SLASHES: Final = re.compile("[/\\\\\uff0f\uff3c\ufe68]")
_DOTS: Final = re.compile("[.\uff0e\u2024\ufe52]{1,2}|\u2025")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_DRIVE: Final = re.compile(r"[A-Za-z]:(?:[/\\]|$)")


class PathRefused(Exception):
    """Path that must not be copied to any storage. Its text says why."""


def clean(path: str) -> str:
    """Return a path without `./` and doubled slashes. Raises PathRefused."""
    if path.startswith(("/", "\\")) or _DRIVE.match(path) or _CONTROL.search(path):
        raise PathRefused(REFUSED)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not 0 < len(parts) <= DEEPEST or path.endswith("/") or len(path) > LONGEST_PATH:
        raise PathRefused(REFUSED)
    if any(_DOTS.fullmatch(one) for part in parts for one in _SLASHES.split(part)):
        raise PathRefused(REFUSED)
    return "/".join(parts)
