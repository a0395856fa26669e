"""Whether a storage gives the part of a file that it is asked for.

Some servers of WebDAV and HTTP ignore `Range`, and answer with the whole file. rclone does
not notice: each of its streams then writes the file's beginning, and the copy has the right
size and the wrong content (rclone-facts.md, "Data corruption"). So the very file that would
be read in parts is asked for two of them first.
"""

from __future__ import annotations

from typing import Final

from efss_transfer.engines.rclone.rc import Rc

_BLOCK: Final = 64
_STEP: Final = 4096
_BEGINNING: Final = 256 << 10
_SECONDS: Final = 2.0


def honoured(rc: Rc, fs: str, path: str, size: int) -> bool:
    """Whether this storage has shown that it gives parts of this file as they are.

    Read from its beginning, without a range, the file shows what stands where; a part that
    differs from the beginning is then asked for by itself. A file that repeats itself shows
    nothing, and so it is not honoured.
    """
    beginning = rc.read(fs, path, 0, _BEGINNING, _SECONDS)
    if len(beginning) < _BEGINNING or size < 2 * _BEGINNING:
        return False
    at = next(
        (
            first
            for first in range(_BEGINNING - _STEP, 0, -_STEP)
            if beginning[first : first + _BLOCK] != beginning[:_BLOCK]
        ),
        0,
    )
    if not at or rc.read(fs, path, at, _BLOCK, _SECONDS) != beginning[at : at + _BLOCK]:
        return False
    # Far from the beginning, too: what is kept in a cache may be answered by another.
    return len(rc.read(fs, path, size - _BLOCK, _BLOCK, _SECONDS)) == _BLOCK
