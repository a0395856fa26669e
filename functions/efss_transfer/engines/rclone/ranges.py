"""Whether a storage gives the part of a file that it is asked for, and how fast.

Some servers of WebDAV and HTTP ignore `Range`, and answer with the whole file. rclone does
not notice: each of its streams then writes the file's beginning, and the copy has the right
size and the wrong content (rclone-facts.md, "Data corruption"). So the very file that would
be read in parts is asked for two of them first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from efss_transfer.engines.rclone.rc import Rc

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.socket_http import Piece

_BLOCK: Final = 64
_STEP: Final = 4096
_BEGINNING: Final = 256 << 10
_SILENCE_SECONDS: Final = 2.0
_PROOF_SECONDS: Final = 2.0
# So much is more than what a limit on connections lets pass at once before it holds them.
_PACED: Final = 4 << 20
_PACED_SECONDS: Final = 0.25
_INSTANT: Final = 1e-6


def rate(rc: Rc, fs: str, path: str, size: int, *, at_once: int = 3) -> float | None:
    """How many bytes a second of this file come by one connection, if this storage has shown
    that it gives parts of it as they are; None if it has not.

    Read from its beginning, without a range, the file shows what stands where; a part that
    differs from the beginning is then asked for by itself. A file that repeats itself shows
    nothing, and so it is not read in parts. So many are read `at_once`: from far away each
    takes longer for its way than for its bytes.
    """
    if size < 2 * _BEGINNING:
        return None

    def read(first: int, count: int, enough: float = _PROOF_SECONDS) -> Piece:
        return rc.read(fs, path, first, count, patience=_SILENCE_SECONDS, enough=enough)

    def paced() -> float:
        # Far from the beginning, too: what is kept in a cache may be answered by another.
        count = min(_PACED, size - _BEGINNING)
        end = read(size - count, count, _PACED_SECONDS)
        # From its first byte: how far away it is says nothing of how fast it comes.
        return len(end.content) / max(end.seconds, _INSTANT) if len(end.content) >= _BLOCK else 0.0

    likely = _BEGINNING - _STEP
    with ThreadPoolExecutor(at_once, "rclone-ranges") as reading:
        whole, part = reading.submit(read, 0, _BEGINNING), reading.submit(read, likely, _BLOCK)
        pace = reading.submit(paced)
        beginning, shown = whole.result().content, part.result().content
    if len(beginning) < _BEGINNING:
        return None
    at = next(
        (
            first
            for first in range(likely, 0, -_STEP)
            if beginning[first : first + _BLOCK] != beginning[:_BLOCK]
        ),
        0,
    )
    if at != likely:
        shown = read(at, _BLOCK).content if at else b""
    return pace.result() or None if at and shown == beginning[at : at + _BLOCK] else None
