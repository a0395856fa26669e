"""Listings from the probe of the source, kept for the copy."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST_KEPT: Final = 8 << 20
_KEPT_SECONDS: Final = 60.0


class EarlyListings:
    """Listings from the probe of the source, so that the copy need not ask for them again.

    Each is used once, and within a minute; together, and with those that are still arriving, they
    take at most `room` bytes. The engine ends its probe after some seconds; a listing that is
    arriving then is kept as well, and the copy waits for it.
    """

    def __init__(self, room: int = _MOST_KEPT) -> None:
        self._most = room // 2
        self._bodies: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0
        self._reserved = 0
        self._arriving: dict[str, asyncio.Future[None]] = {}
        self.is_open = True
        """Whether the copy has yet to begin."""

    @contextmanager
    def arriving(self, folder: str) -> Iterator[None]:
        """Let a listing arrive in the block, in which it may be kept although the copy begins."""
        arrived = self._arriving[folder] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            if self._arriving.get(folder) is arrived:
                del self._arriving[folder]
            arrived.set_result(None)

    async def arrived(self, folder: str) -> None:
        """Wait for a listing that is arriving."""
        if (arriving := self._arriving.get(folder)) is not None:
            await asyncio.shield(arriving)

    def reserve(self, folder: str, size: int) -> bool:
        """Reserve bytes for a body that is still arriving, and return whether there is room."""
        if not self._may_keep(folder) or self._reserved + size > self._most:
            return False
        self._reserved += size
        return True

    def release(self, size: int) -> None:
        """Release what was reserved."""
        self._reserved -= size

    def keep(self, folder: str, body: bytes) -> None:
        """Keep the body of an answer, and drop the oldest ones if there is not enough room."""
        if not self._may_keep(folder) or len(body) > self._most:
            return
        self.take(folder)
        self._bodies[folder] = (time.monotonic(), body)
        self._size += len(body)
        while self._size > self._most:
            self.take(next(iter(self._bodies)))

    def take(self, folder: str) -> bytes | None:
        """Return a body that is recent enough, and drop it."""
        at, body = self._bodies.pop(folder, (0.0, None))
        if body is None:
            return None
        self._size -= len(body)
        return body if time.monotonic() - at < _KEPT_SECONDS else None

    def clear(self) -> None:
        """Drop all, also those that are arriving."""
        self._bodies.clear()
        self._arriving.clear()
        self._size = 0

    def _may_keep(self, folder: str) -> bool:
        return self.is_open or folder in self._arriving
