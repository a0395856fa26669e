"""Shortens paths that no storage takes, so that neither the memory nor an answer holds them."""

from __future__ import annotations

import re
from typing import Final

LONGEST_PATH: Final = 4096
"""Maximum length of a path that is kept whole, in characters; requests may name no longer one."""

_SHOWN: Final = 200
_SHORTENED: Final = re.compile(r"… \([\d,]+ characters, [0-9a-f]{16}\)\Z")


def shortened(path: str) -> str:
    """Return a path, or the beginning of a long one with its length and a part of its hash."""
    if len(path) <= LONGEST_PATH:
        return path
    import hashlib  # a cold start does not pay for what only odd sources need

    known = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{path[:_SHOWN]}… ({len(path):,} characters, {known})"


def is_shortened(path: str) -> bool:
    """Return whether `shortened` has made this of a long path."""
    return _SHORTENED.search(path) is not None
