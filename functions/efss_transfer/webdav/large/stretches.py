"""Cut the body of one PUT of the engine into several, as it arrives, and hash all of it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.messages import BadMessage
from efss_transfer.webdav.http.server import EngineGone
from efss_transfer.webdav.large import marks
from efss_transfer.webdav.large.marks import Chunk


class Stretches:
    """Bytes of a file as the engine sends them, one stretch after another.

    With `by_md5` they are hashed by MD5 as well.
    """

    def __init__(self, body: Body, *, by_md5: bool = False) -> None:
        self._body = body
        self._buffer = body.buffer()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False) if by_md5 else None

    @property
    def at(self) -> int:
        """How many bytes were read."""
        return self._body.count

    @property
    def digest(self) -> str:
        """SHA-1 of all bytes that were read, as in the names of chunks."""
        return marks.decimal(self._sha1.digest())

    @property
    def sha1(self) -> str:
        """SHA-1 of all bytes that were read, in hexadecimal."""
        return self._sha1.hexdigest()

    @property
    def md5(self) -> str | None:
        """MD5 of all bytes that were read, in hexadecimal, if that was asked for."""
        return None if self._md5 is None else self._md5.hexdigest()

    async def read(self, most: int) -> memoryview:
        """Read some bytes. Raises EngineGone."""
        try:
            count = await self._body.read(self._buffer[:most])
        except (OSError, BadMessage) as error:
            raise EngineGone from error
        if not count:
            raise EngineGone
        self._sha1.update(self._buffer[:count])
        if self._md5 is not None:
            self._md5.update(self._buffer[:count])
        return self._buffer[:count]

    async def taken(self, size: int) -> bytes:
        """Read so many bytes, and hold them. Raises EngineGone."""
        pieces: list[bytes] = []
        while left := size - sum(map(len, pieces)):
            pieces.append(bytes(await self.read(left)))
        return b"".join(pieces)

    async def skip(self, size: int) -> None:
        """Read bytes that the server has already. Raises EngineGone."""
        end = self.at + size
        while self.at < end:
            await self.read(end - self.at)

    async def proven(self, chunk: Chunk) -> Chunk | None:
        """Read what the server has already as a chunk, and return it with the SHA-1 after it.

        None if these are other bytes. Raises EngineGone.
        """
        md5 = hashlib.md5(usedforsecurity=False) if chunk.md5 is not None else None
        end = self.at + chunk.size
        while self.at < end:
            piece = await self.read(end - self.at)
            if md5 is not None:
                md5.update(piece)
        is_same = chunk.after == self.digest if md5 is None else chunk.md5 == md5.hexdigest()
        return replace(chunk, after=self.digest) if is_same else None


class Stretch:
    """The next `size` bytes of a file as the body of a request."""

    trailers: Final = b""

    def __init__(self, stretches: Stretches, size: int) -> None:
        self._stretches = stretches
        self._size = size
        self.left = size
        self.length: int | None = size

    @property
    def replayable(self) -> bool:
        """Return whether nothing was read yet."""
        return self.left == self._size

    async def pieces(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the pieces as they arrive. Raises EngineGone."""
        while self.left:
            piece = await self._stretches.read(self.left)
            self.left -= len(piece)
            yield piece
