"""Serve HTTP/1.1 to an engine on a connection that was already accepted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.bodies import Body, send_piece
from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.http.hangups import HangUps
from efss_transfer.webdav.http.messages import RequestHead
from efss_transfer.webdav.http.splice import may_move, move
from efss_transfer.webdav.http.streams import ByteStream, TooLong
from efss_transfer.webdav.paths import Segments, segments

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_LINGER_SECONDS: Final = 2.0
_LINGERED: Final = 1 << 22


class Abort(Exception):
    """Signal to break the engine's connection, because the answer is incomplete."""


class EngineGone(Exception):
    """Request that the engine itself broke off."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Request of the engine. `path` is decoded; `raw` is the path as it was sent."""

    head: RequestHead
    body: Body
    raw: str
    path: Segments

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.head.method

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name."""
        return self.head.headers.get(name)

    async def whole(self, limit: int) -> bytes:
        """Read the whole body. Raises TooLong and EngineGone."""
        try:
            return await self.body.whole(limit)
        except (OSError, messages.BadMessage) as error:
            raise EngineGone from error


class Streamed:
    """Body that is streamed from the engine to the server and can be read once."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.length = body.length if isinstance(body.length, int) else None

    @property
    def replayable(self) -> bool:
        """Return whether nothing was read yet."""
        return not self._body.count

    @property
    def trailers(self) -> bytes:
        """Lines after the last chunk."""
        return self._body.trailers

    async def pieces(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the pieces as they arrive. Raises EngineGone."""
        buffer = self._body.buffer()
        while True:
            try:
                count = await self._body.read(buffer)
            except (OSError, messages.BadMessage) as error:
                raise EngineGone from error
            if not count:
                return
            yield buffer[:count]

    def may_move(self, target: ByteStream) -> bool:
        """Return whether it can be moved to a stream within the kernel."""
        return may_move(self._body, target)

    def move(self, target: ByteStream, silence: float) -> AsyncGenerator[int, None]:
        """Move it within the kernel; yield the size of each piece.

        Raises EngineGone, and the errors of the target.
        """

        def gone(_: Exception) -> Exception:
            return EngineGone()

        return move(self._body, target, silence, gone)


class EngineReply:
    """Answer to one request. OSError means that the engine has disconnected."""

    def __init__(self, stream: ByteStream, head: RequestHead, body: Body) -> None:
        self.started = False
        self.keep_alive = head.keep_alive
        # Whether the request is served to its end although the engine has hung up.
        self.outlives_engine = False
        self._stream = stream
        self._body = body
        self._head_only = head.method == "HEAD"
        self._chunked = False
        self._trailers = b""
        self._left: int | None = None

    async def send(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        head = self._begun(status, headers or {}, len(body))
        await self._stream.write(head if self._head_only else head + body)
        self._left = 0

    async def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """Send the head of an answer; its body follows, in chunks if the length is unknown."""
        await self._stream.write(self._begun(status, headers, length))

    async def write(self, piece: memoryview | bytes) -> None:
        """Send a piece of the body."""
        self._take_from_left(len(piece))
        if len(piece) and not self._head_only:
            await send_piece(self._stream, piece, chunked=self._chunked)

    async def relay(self, answer: Answer, headers: Mapping[str, str], length: int | None) -> None:
        """Pass on an answer, whose body follows as it arrives. Raises NoAnswer if it is truncated.

        The part of the body that arrived with its head is sent with the head.
        """
        head = self._begun(answer.status, headers, length)
        if length is not None and answer.body.length == length and not self._head_only:
            ahead = answer.body.take_ahead()
            self._take_from_left(len(ahead))
            head += ahead
        await self._stream.write(head)
        if answer.body.ended:
            return
        if not self._chunked and may_move(answer.body, self._stream):
            async with aclosing(answer.moved_to(self._stream)) as moving:
                async for count in moving:
                    self._take_from_left(count)
        buffer = answer.body.buffer()
        while count := await answer.read(buffer):
            await self.write(buffer[:count])
        self._trailers = answer.body.trailers

    async def end(self) -> None:
        """Finish the body. Raises Abort if it is shorter than announced."""
        if self._head_only:
            return
        if self._chunked:
            await self._stream.write(b"0\r\n%b\r\n" % self._trailers)
        elif self._left:
            raise Abort

    def _take_from_left(self, count: int) -> None:
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise Abort

    def _begun(self, status: int, headers: Mapping[str, str], length: int | None) -> bytes:
        self.started = True
        fields = dict(headers)
        self._left = length
        if length is None:
            self._chunked = True
            fields["Transfer-Encoding"] = "chunked"
        elif status >= 200 and status not in (204, 304):
            fields["Content-Length"] = str(length)
        # What is unread of the request ends the connection: the engine must not use it again.
        self.keep_alive = self.keep_alive and self._body.ended
        if not self.keep_alive:
            fields["Connection"] = "close"
        return messages.response_head(status, _REASONS.get(status, "Unknown"), fields)


Handler = Callable[[EngineRequest, EngineReply], Awaitable[None]]


Elsewhere = Callable[[ByteStream], Awaitable[bool]]
"""Function that hands a connection on if its next request is for somebody else, and returns
whether it was: then it has also ended.
"""


async def serve(
    connection: socket.socket, handle: Handler, elsewhere: Elsewhere | None = None
) -> None:
    """Answer the requests of one connection until it ends, then close it."""
    stream = ByteStream(connection)
    hang_ups = HangUps(connection)
    try:
        with hang_ups.watched():
            while (elsewhere is None or not await elsewhere(stream)) and (
                await _one(stream, handle, hang_ups)
            ):
                pass
    except (OSError, EngineGone, messages.BadMessage, Abort):
        stream.abort()
    except BaseException:
        stream.abort()
        if not hang_ups.noticed:
            raise
        hang_ups.settle()
    else:
        stream.close()


async def _one(stream: ByteStream, handle: Handler, hang_ups: HangUps) -> bool:
    """Answer one request; return whether another may follow."""
    head = await messages.read_request(stream)
    if head is None:
        return False
    body = Body(stream, head.length)
    reply = EngineReply(stream, head, body)
    raw = head.target.partition("?")[0]
    if "://" in raw:
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    try:
        path = segments(raw)
    except ValueError:
        reply.keep_alive = False
        await reply.send(400)
        return False
    if (head.headers.get("expect") or "").lower() == "100-continue":
        await stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    unread_is_fatal = not body.ended
    try:
        # The answer may come before the body is read: unread bytes then end the connection.
        with hang_ups.served(lambda: not reply.outlives_engine):
            await handle(EngineRequest(head, body, raw, path), reply)
    except TooLong:
        reply.keep_alive = False
        await reply.send(413)
    if unread_is_fatal and not body.ended:
        await _linger(stream)
        return False
    return reply.keep_alive


async def _linger(stream: ByteStream) -> None:
    """Let the answer arrive before the connection ends: closing at once would discard it."""
    with suppress(OSError):
        stream.connection.shutdown(socket.SHUT_WR)
    buffer = memoryview(bytearray(1 << 16))
    left = _LINGERED
    with suppress(OSError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while left > 0 and (count := await stream.read(buffer)):
                left -= count
