"""Wait, in a verification, for files that the server still processes after their upload.

oCIS lists such a file with status 425 and the properties that it will have. It may yet reject the
file, as a virus scanner does; then the file vanishes, or the old one returns.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from efss_transfer.webdav.memory import key
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.words import Record, RequestFailure, Words

_PROCESSING: Final = 425
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0


class Processing:
    """Files in processing. Nothing waits for them before `begin`."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._until = 0.0

    def begin(self, until: float) -> None:
        """Wait from now on, but not after `until`, a time of `time.monotonic()`."""
        self._until = until

    def is_unready(self, path: Segments, entry: Entry) -> bool:
        """Return whether to wait for a file. Once the time is over, record it instead."""
        if not self._until or entry.failure != _PROCESSING or entry.collection:
            return False
        if time.monotonic() < self._until:
            return True
        said = Words(_PROCESSING, "", "The server has not finished processing the file.")
        self._record.fail_entry(RequestFailure("PROPFIND", key(path), said))
        return False

    async def pause(self, number: int, path: Segments) -> None:
        """Wait before asking for the `number`th time again for a file or its folder."""
        longest = min(_FIRST_PAUSE * 1.5**number, _LONGEST_PAUSE)
        seconds = min(longest, max(0.0, self._until - time.monotonic()))
        with self._record.waits.during(_PROCESSING, key(path), seconds):
            await asyncio.sleep(seconds)
