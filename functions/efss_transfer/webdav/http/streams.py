"""Read and write a plain or TLS connection in an event loop.

TLS runs over memory buffers and not on the socket: there, OpenSSL would make two system calls for
each record of 16 KiB. Measured for 1 GiB on loopback: 0.65 s of CPU time instead of 0.83 s to
read, 0.44 s instead of 0.53 s to write.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Final

from efss_transfer.webdav.http.sockets import WatchedSocket

PIECE: Final = 1 << 18
"""Size of the largest read. 1 GiB costs 0.43 s, 0.61 s with 64 KiB, 0.33 s with 1 MiB."""

_AHEAD: Final = 1 << 14
_NOT_WIDE: Final = 1 << 16


class Broken(ConnectionError):
    """Connection that ended too early."""


class TooLong(Exception):
    """Line or head that exceeds its limit."""


class ByteStream:
    """Stream over a non-blocking socket, which it owns."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._socket = WatchedSocket(connection)
        self._ahead = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._widest = 0

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Perform the TLS handshake as a client. Raises ssl.SSLError and OSError."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._raw = memoryview(b"")
        self._sending = asyncio.Lock()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive(_AHEAD):
                    raise Broken("the peer closed the connection in the TLS handshake") from None
            except ssl.SSLError:
                with suppress(OSError):
                    await self._flush()  # the TLS alert, which gives the reason
                raise
            else:
                break
        await self._flush()
        self._tls = tls

    def allow(self, seconds: float | None) -> None:
        """Let reads and writes wait so long from now on; then they raise TimeoutError."""
        self._socket.allow(seconds)

    async def readable(self, seconds: float) -> None:
        """Wait so long until the socket has data or has ended. Raises TimeoutError."""
        await self._socket.readable(seconds)

    async def read(self, buffer: memoryview) -> int:
        """Read the available bytes; 0 at the end. Raises OSError."""
        if self._ahead:
            count = min(len(self._ahead), len(buffer))
            buffer[:count] = self._ahead[:count]
            del self._ahead[:count]
            return count
        return await self._read(buffer)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all bytes. Raises OSError."""
        if self._tls is None:
            await self._socket.send(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            piece = view[start : start + PIECE]
            self._widest = max(self._widest, len(piece))
            self._tls.write(piece)
            await self._flush()

    async def head(self, limit: int) -> bytes:
        """Read a head up to its empty line; b"" at the end of the stream.

        Raises TooLong, and Broken if the stream ends inside the head.
        """
        while True:
            # RFC 9112, section 2.2: an empty line before a request is skipped.
            while self._ahead[:2] == b"\r\n":
                del self._ahead[:2]
            end = self._ahead.find(b"\r\n\r\n")
            if end >= 0:
                return self._take(end + 4)
            if len(self._ahead) > limit:
                raise TooLong
            if not await self._more():
                if self._ahead:
                    raise Broken("the peer closed the connection inside a head")
                return b""

    async def line(self, limit: int) -> bytes:
        """Read a line with its line ending. Raises TooLong and Broken."""
        while True:
            end = self._ahead.find(b"\n")
            if end >= 0:
                return self._take(end + 1)
            if len(self._ahead) > limit:
                raise TooLong
            if not await self._more():
                raise Broken("the peer closed the connection inside a line")

    @property
    def is_plain(self) -> bool:
        """Return whether the socket carries the data unencrypted."""
        return self._tls is None

    def unread(self, data: bytes) -> None:
        """Put data back that was taken: it is read again next."""
        self._ahead[:0] = data

    @property
    def is_wide(self) -> bool:
        """Return whether its TLS buffers have grown: OpenSSL never makes them smaller."""
        return self._widest > _NOT_WIDE

    def take_ahead(self, most: int) -> bytes:
        """Return bytes that were read from the socket and not yet consumed."""
        return self._take(min(most, len(self._ahead)))

    @property
    def is_idle(self) -> bool:
        """Return whether the connection is open and has no unread data."""
        return not self._ahead and self._socket.is_idle

    def close(self) -> None:
        """Close the connection in the normal way."""
        self._socket.close()

    def abort(self) -> None:
        """Reset the connection, so that the peer cannot mistake partial data for the whole."""
        self._socket.abort()

    def unwatch(self) -> None:
        """Leave the socket to somebody else."""
        self._socket.unwatch()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._ahead[:count])
        del self._ahead[:count]
        return taken

    async def _more(self) -> bool:
        if self._tls is None:
            return await self._socket.receive(self._ahead) > 0
        buffer = bytearray(_AHEAD)
        count = await self._read(memoryview(buffer))
        self._ahead += buffer[:count]
        return count > 0

    async def _read(self, buffer: memoryview) -> int:
        if self._tls is None:
            return await self._socket.receive_into(buffer)
        count = 0
        while True:
            try:
                while count < len(buffer):
                    more = self._tls.read(len(buffer) - count, buffer[count:])
                    if not more:
                        return count
                    count += int(more)
                return count
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    await self._flush()
                if count:
                    return count
                if not await self._receive(len(buffer)):
                    # Without close_notify, an intermediary may have truncated the stream.
                    raise Broken("the peer closed TLS without close_notify") from None
            except ssl.SSLZeroReturnError:
                return count

    async def _receive(self, most: int) -> bool:
        if len(self._raw) < most:
            self._raw = memoryview(bytearray(most))
            self._widest = max(self._widest, most)
        count = await self._socket.receive_into(self._raw[:most])
        self._incoming.write(self._raw[:count])
        return count > 0

    async def _flush(self) -> None:
        async with self._sending:
            while self._outgoing.pending:
                await self._socket.send(self._outgoing.read())
