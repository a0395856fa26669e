"""Ask for the free space before a large file is sent: a server tells only after the last byte."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from efss_transfer.webdav.paths import Segments

SMALLEST: Final = 1 << 20
"""Smallest file that is worth a question."""

_SECONDS: Final = 30.0
_UNKNOWN_SECONDS: Final = 600.0


class Quota:
    """Free space at one server. `ask` returns that of a folder in bytes, None if it is unknown.

    What a folder has may be less than its parent has: a share, an external storage. So a file is
    refused only by a fresh answer about its own folder. Any recent answer lets a file pass, less
    the files that passed since.
    """

    def __init__(self, ask: Callable[[Segments], Awaitable[int | None]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._free = 0.0
        self._until = -math.inf

    async def lacks(self, folder: Segments, size: int) -> int | None:
        """Return how many bytes are free if a file does not fit, else None."""
        if size < SMALLEST or self._passes(size):
            return None
        async with self._asking:
            if self._passes(size):
                return None
            free = await self._ask(folder)
            self._free = math.inf if free is None else free
            self._until = time.monotonic() + (_UNKNOWN_SECONDS if free is None else _SECONDS)
            return None if self._passes(size) else free

    def _passes(self, size: int) -> bool:
        if time.monotonic() >= self._until or size > self._free:
            return False
        self._free -= size
        return True
