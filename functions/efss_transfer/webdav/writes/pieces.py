"""Cut a body of unknown length into pieces of known length, which are held in memory.

Servers behind php-fpm store a body of unknown length as an empty file and report success: see
`Dialect.needs_length`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.exchange import Held
from efss_transfer.webdav.http.messages import BadMessage
from efss_transfer.webdav.http.server import EngineGone

SMALLEST: Final = 1 << 19
LARGEST: Final = 1 << 23
_SHARED: Final = 1 << 25


class Pieces:
    """Pieces of all the bodies that pass through one gateway at the same time.

    Each body may hold 512 KiB. Beyond that, together they hold `room` bytes at most, so that one
    body among few is sent in pieces of 8 MiB, and none waits for another.
    """

    def __init__(self, room: int = _SHARED) -> None:
        self._held = 0
        self._room = room

    async def cut(self, body: Body) -> AsyncGenerator[Held, None]:
        """Yield the pieces of a body; an empty body has one empty piece.

        Each is held until the next one is asked for. Raises EngineGone.
        """
        buffer = body.buffer()
        is_first = True
        while not body.ended:
            piece = bytearray()
            try:
                while self._may_grow(len(piece)) and (count := await self._read(body, buffer)):
                    piece += buffer[:count]
                    self._held += count
                if piece or is_first:
                    yield Held(bytes(piece))
                is_first = False
            finally:
                self._held -= len(piece)

    def _may_grow(self, size: int) -> bool:
        return size < SMALLEST or (size < LARGEST and self._held < self._room)

    async def _read(self, body: Body, buffer: memoryview) -> int:
        try:
            return await body.read(buffer)
        except (OSError, BadMessage) as error:
            raise EngineGone from error
