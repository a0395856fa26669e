"""Answer the engine with a listing, in long pieces."""

from __future__ import annotations

from typing import Final

from efss_transfer.webdav import listings
from efss_transfer.webdav.early_listings import EarlyListings
from efss_transfer.webdav.http.server import Abort, EngineReply

_XML: Final = {"Content-Type": listings.XML_TYPE}
_BEFORE_SENDING: Final = 1 << 18


class ListingAnswer:
    """Answer with a listing, sent in long pieces, and kept if `early` still keeps listings."""

    def __init__(self, reply: EngineReply, early: EarlyListings | None, folder: str) -> None:
        self._reply = reply
        self._early = early if early is not None and early.is_open else None
        self._folder = folder
        self._kept: list[bytes] = []
        self._reserved = 0
        self._waiting = [listings.OPENING]
        self._size = 0
        self._engine_is_gone = False

    def add(self, piece: bytes) -> None:
        """Add a piece, which is sent later."""
        self._waiting.append(piece)
        self._size += len(piece)

    @property
    def has_begun(self) -> bool:
        """Whether a part of it was sent."""
        return self._reply.started

    async def send_if_long(self) -> None:
        """Send what was added once it is long enough."""
        if self._size <= _BEFORE_SENDING:
            return
        piece = self._piece()
        if self._engine_is_gone:
            if self._early is None:
                raise Abort  # it is neither sent nor kept
            return
        try:
            if not self._reply.started:
                await self._reply.begin(207, _XML, None)
            await self._reply.write(piece)
        except OSError:
            if self._early is None:
                raise
            self._engine_is_gone = True

    async def end(self) -> None:
        """Send the rest."""
        self.add(listings.CLOSING)
        last = self._piece()
        if self._early is not None:
            self._early.keep(self._folder, b"".join(self._kept))
        self.discard()
        if self._engine_is_gone:
            raise Abort
        if self._reply.started:
            await self._reply.write(last)
            await self._reply.end()
        else:
            await self._reply.send(207, last, _XML)

    def discard(self) -> None:
        """Keep nothing of it any longer."""
        self._kept.clear()
        if self._early is not None:
            self._early.release(self._reserved)
            self._early = None

    def _piece(self) -> bytes:
        piece = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if self._early is not None:
            if self._early.reserve(self._folder, len(piece)):
                self._reserved += len(piece)
                self._kept.append(piece)
            else:
                self.discard()
        return piece
