"""Read and send the bodies of HTTP/1.1 messages (RFC 9112): through one buffer, not inspected."""

from __future__ import annotations

import re
from typing import Final

from efss_transfer.webdav.budget import Buffer
from efss_transfer.webdav.http.messages import BadMessage, Length
from efss_transfer.webdav.http.streams import PIECE, Broken, ByteStream, TooLong

_LONGEST_LINE: Final = 1 << 12
_LONGEST_TRAILERS: Final = 1 << 14
_SMALLEST: Final = 1 << 12
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")


class Body:
    """Body that is read from a stream. After its end the stream holds the next message."""

    def __init__(self, stream: ByteStream, length: Length) -> None:
        self.length = length
        self.ended = length == 0
        self.count = 0
        self.trailers = b""
        """Lines after the last chunk (RFC 9112, section 7.1.2), once the body has ended."""
        self.piece = PIECE  # the size of the largest buffer
        self.may_use_pipe = True
        self._stream = stream
        self._left = length if isinstance(length, int) else 0

    @property
    def stream(self) -> ByteStream:
        """Stream that the body is read from."""
        return self._stream

    @property
    def left(self) -> int:
        """Number of bytes still to come, for a body of known length."""
        return self._left

    def moved(self, count: int) -> None:
        """Record bytes that were taken directly from the stream."""
        self.count += count
        self._left -= count
        self.ended = not self._left

    def take_ahead(self) -> bytes:
        """Return the part of the body that was read with the head."""
        taken = self._stream.take_ahead(self._left)
        self.moved(len(taken))
        return taken

    def use(self, lent: Buffer) -> None:
        """Read it with a buffer of this size from now on."""
        self.piece, self.may_use_pipe = lent.size, lent.pipe

    def buffer(self, most: int = PIECE) -> memoryview:
        """Allocate a buffer of at most this size that suits the rest of the body."""
        most = min(most, self.piece)
        size = most if not isinstance(self.length, int) else min(most, self._left)
        return memoryview(bytearray(max(size, _SMALLEST)))

    async def read(self, buffer: memoryview) -> int:
        """Read some of it; 0 at its end. Raises Broken if it is truncated, and BadMessage."""
        if self.ended:
            return 0
        if self.length == "chunked" and not self._left:
            self._left = await self._next_chunk()
            if not self._left:
                self.ended = True
                return 0
        wanted = len(buffer) if self.length == "close" else min(len(buffer), self._left)
        count = await self._stream.read(buffer[:wanted])
        self.count += count
        if self.length == "close":
            self.ended = not count
            return count
        if not count:
            raise Broken("the peer closed the connection inside a body")
        self._left -= count
        if self.length == "chunked":
            if not self._left:
                await self._line()
        else:
            self.ended = not self._left
        return count

    async def whole(self, limit: int) -> bytes:
        """Read the whole body. Raises TooLong if it exceeds `limit` bytes."""
        if isinstance(self.length, int) and self.length > limit:
            raise TooLong
        pieces = []
        if isinstance(self.length, int):
            pieces.append(self.take_ahead())
            if self.ended:
                return pieces[0]
        buffer = self.buffer()
        while count := await self.read(buffer):
            pieces.append(bytes(buffer[:count]))
            if self.count > limit:
                raise TooLong
        return b"".join(pieces)

    async def _next_chunk(self) -> int:
        found = _CHUNK.fullmatch(await self._line())
        if not found:
            raise BadMessage("a chunk has no valid size")
        size = int(found[1], 16)
        if not size:
            await self._read_trailers()
        return size

    async def _read_trailers(self) -> None:
        while (line := await self._line()) != b"\r\n":
            if len(self.trailers) + len(line) > _LONGEST_TRAILERS:
                raise BadMessage("the trailers exceed 16 KiB")
            if not _TRAILER.fullmatch(line):
                raise BadMessage("a trailer is not a name and a value")
            self.trailers += line

    async def _line(self) -> bytes:
        try:
            return await self._stream.line(_LONGEST_LINE)
        except TooLong:
            raise BadMessage("a line exceeds 4 KiB") from None


async def send_piece(stream: ByteStream, piece: memoryview | bytes, *, chunked: bool) -> None:
    """Send a piece of a body, which must not be empty."""
    if not chunked:
        await stream.write(piece)
    elif len(piece) <= _SMALLEST:
        await stream.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
    else:
        await stream.write(b"%x\r\n" % len(piece))
        await stream.write(piece)
        await stream.write(b"\r\n")
