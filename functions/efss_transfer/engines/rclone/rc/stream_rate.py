"""Measures how fast one connection is, and whether a storage returns ranges of a file.

Some WebDAV and HTTP servers ignore `Range` and answer with the whole file. rclone does not
notice: each of its streams then writes the beginning of the file, and the copy has the right size
and the wrong content. So two ranges of the very file that would be read in parts are requested
first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from efss_transfer.engines.rclone.rc.client import RcClient

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.rc.unix_http import FileRange

# Bytes.
_BLOCK: Final = 64
_STEP: Final = 4096
_BEGINNING: Final = 256 << 10
# More than a rate limit per connection lets pass in a burst.
_RATE_SAMPLE: Final = 4 << 20
_RATE_SAMPLE_SECONDS: Final = 0.25
_SILENCE_SECONDS: Final = 2.0
_READ_SECONDS: Final = 2.0
_SHORTEST_SECONDS: Final = 1e-6


def stream_rate(rc: RcClient, fs: str, path: str, size: int, *, at_once: int = 3) -> float | None:
    """The bytes per second of a file over one connection; None if the storage has not proved that
    it returns ranges of the file as requested.

    The beginning of the file is read without a range. A block of it that differs from the very
    first one is then requested as a range. A file that repeats itself proves nothing, so it is
    not read in parts. At most `at_once` reads run at a time: from far away each one spends more
    time on its way than on its bytes.
    """
    if size < 2 * _BEGINNING:
        return None

    def read(first: int, count: int, seconds: float = _READ_SECONDS) -> FileRange:
        return rc.read_range(fs, path, first, count, timeout=_SILENCE_SECONDS, max_seconds=seconds)

    def measure_rate() -> float:
        # Far from the beginning as well, because a cache could answer for that.
        count = min(_RATE_SAMPLE, size - _BEGINNING)
        end = read(size - count, count, _RATE_SAMPLE_SECONDS)
        if len(end.content) < _BLOCK:
            return 0.0
        # Measured from the first byte on: the round trip says nothing about the rate.
        return len(end.content) / max(end.seconds, _SHORTEST_SECONDS)

    likely = _BEGINNING - _STEP
    with ThreadPoolExecutor(at_once, "rclone-ranges") as reads:
        whole, part = reads.submit(read, 0, _BEGINNING), reads.submit(read, likely, _BLOCK)
        rate = reads.submit(measure_rate)
        beginning, block = whole.result().content, part.result().content
    if len(beginning) < _BEGINNING:
        return None
    first = next(
        (
            first
            for first in range(likely, 0, -_STEP)
            if beginning[first : first + _BLOCK] != beginning[:_BLOCK]
        ),
        0,
    )
    if first != likely:
        block = read(first, _BLOCK).content if first else b""
    return rate.result() or None if first and block == beginning[first : first + _BLOCK] else None
