"""Exchange one request and its answer on one connection, with bodies streamed both ways."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, runtime_checkable

from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.bodies import Body, send_piece
from efss_transfer.webdav.http.connections import Connections, Lease, NoAnswer, Origin
from efss_transfer.webdav.http.messages import ResponseHead
from efss_transfer.webdav.http.splice import move
from efss_transfer.webdav.http.streams import ByteStream

_CONTINUE_SECONDS: Final = 1.0
_MOST_INTERIM: Final = 16
_DRAINED: Final = 1 << 16


class Upload(Protocol):
    """Body of a request."""

    @property
    def length(self) -> int | None:
        """Size in bytes, or None if it is unknown."""

    @property
    def replayable(self) -> bool:
        """Return whether it can be sent again: it is all in memory, or nothing was read."""

    @property
    def trailers(self) -> bytes:
        """Return the lines after the last chunk, once all pieces were read."""

    def pieces(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the body from its start. No piece is empty; each is valid until the next one.

        An error while reading it must not be an OSError, which would be taken for the server's.
        """


@runtime_checkable
class Movable(Protocol):
    """Body that may be moved from socket to socket."""

    def may_move(self, target: ByteStream) -> bool:
        """Return whether it can be moved to this stream."""

    def move(self, target: ByteStream, silence: float) -> AsyncGenerator[int, None]:
        """Move the body; yield the size of each piece."""


class Held:
    """Body that is in memory."""

    replayable: Final = True
    trailers: Final = b""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length: int | None = len(data)

    @cached_property
    def sha1(self) -> str:
        """SHA-1 hash in hexadecimal, as WebDAV servers use it."""
        return hashlib.sha1(self.data, usedforsecurity=False).hexdigest()

    @cached_property
    def md5(self) -> str:
        """MD5 hash in hexadecimal, which ownCloud and oCIS list as well."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()

    async def pieces(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the only piece."""
        if self.data:
            yield self.data


@dataclass(frozen=True)
class Call:
    """Request. `target` is an absolute path, percent-encoded, with its query if any.

    A call that is sent `beside` another, which waits for it, takes no slot of the connection
    limit: otherwise calls that hold all the slots could wait for each other. A call `once` is never
    repeated after a broken connection, so it does not use one that may have ended. `origin` is that
    of another server, to which a server's answer led; None for the server itself. `silence` is for
    how many seconds the server may be silent, if that is longer than usual.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    beside: bool = False
    once: bool = False
    origin: Origin | None = None
    silence: float = 0.0


@dataclass
class Answer:
    """Answer with an unread body, valid until `settle`."""

    head: ResponseHead
    body: Body
    origin: Origin
    target: str
    silence: float
    lease: Lease
    connections: Connections
    redirects: tuple[str, ...] = ()

    async def read(self, buffer: memoryview) -> int:
        """Read some of the body; 0 at its end. Raises NoAnswer if it is truncated."""
        self.body.stream.allow(self.silence)
        try:
            return await self.body.read(buffer)
        except (OSError, messages.BadMessage) as error:
            raise no_answer(self.origin, error) from error

    def moved_to(self, target: ByteStream) -> AsyncGenerator[int, None]:
        """Move the body to a stream within the kernel; yield the size of each piece."""
        return move(self.body, target, self.silence, lambda error: no_answer(self.origin, error))

    async def text(self, limit: int) -> bytes:
        """Read the body, up to `limit` bytes. Raises NoAnswer."""
        buffer = memoryview(bytearray(1 << 14))
        pieces: list[bytes] = []
        while self.body.count < limit and (count := await self.read(buffer)):
            pieces.append(bytes(buffer[:count]))
        return b"".join(pieces)[:limit]

    async def settle(self) -> None:
        """Give the connection back: for reuse if the rest of the body is short and arrives."""
        body, reusable = self.body, False
        try:
            if self.head.keep_alive and body.length != "close":
                if not body.ended:
                    await self._drain()
                reusable = body.ended
        finally:
            self.connections.release(self.lease, reusable=reusable)

    async def _drain(self) -> None:
        body = self.body
        if isinstance(body.length, int):
            if body.left > _DRAINED:
                return
            body.take_ahead()
            if body.ended:
                return
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return  # the rest may never arrive
        buffer = memoryview(bytearray(1 << 14))
        with suppress(OSError, messages.BadMessage):
            async with asyncio.timeout(1):
                while body.count < (1 << 20) and await body.read(buffer):
                    pass

    @property
    def status(self) -> int:
        """HTTP status code."""
        return self.head.status

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name."""
        return self.head.headers.get(name)


def no_answer(origin: Origin, error: Exception) -> NoAnswer:
    """Convert any error of an exchange to NoAnswer."""
    if isinstance(error, NoAnswer):
        return error
    if isinstance(error, TimeoutError):
        return NoAnswer("timeout", f"{origin.authority} did not respond in time (i/o timeout)")
    if isinstance(error, messages.BadMessage):
        return NoAnswer("protocol", f"{origin.authority}: malformed HTTP response")
    return NoAnswer("broken", f"{origin.authority}: connection reset")


class Sending:
    """Block with the answer to a request, which is sent at its start and settled at its end."""

    __slots__ = ("_answer", "_sent")

    def __init__(self, sent: Coroutine[Any, Any, Answer]) -> None:
        self._sent = sent

    async def __aenter__(self) -> Answer:
        self._answer = await self._sent
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        await self._answer.settle()


async def converse(stream: ByteStream, head: bytes, call: Call, silence: float) -> ResponseHead:
    """Send a request and read the head of its answer, which may arrive before all is sent."""
    upload = call.upload
    if upload is None or isinstance(upload, Held):
        stream.allow(silence)
        with suppress(ConnectionError):  # the server may have answered first
            await stream.write(head if upload is None else head + upload.data)
        return await _final(stream)
    stream.allow(None)  # the engine may be slow
    async with asyncio.timeout(silence):
        await stream.write(head)
    answering = asyncio.ensure_future(_first(stream))
    try:
        done, _ = await asyncio.wait({answering}, timeout=_CONTINUE_SECONDS)
        interim = answering.result() if done else None
        if interim is not None and interim.status != 100:
            return interim
        if done:
            answering = asyncio.ensure_future(_final(stream))
        broke = await _send(stream, upload, answering, silence)
        async with asyncio.timeout(1.0 if broke else silence):
            answer = await answering
            return answer if answer.status >= 200 else await _final(stream)
    finally:
        if not answering.done():
            answering.cancel()
            with suppress(asyncio.CancelledError, OSError, messages.BadMessage):
                await answering


async def _send(
    stream: ByteStream, upload: Upload, answering: asyncio.Future[ResponseHead], silence: float
) -> bool:
    """Send a body until it ends or is answered; return whether the server stopped reading."""
    chunked = upload.length is None
    if isinstance(upload, Movable) and upload.may_move(stream):
        try:
            async with aclosing(upload.move(stream, silence)) as moving:
                async for _ in moving:
                    if _is_over(answering):
                        return True
        except ConnectionError:
            return True
    async for piece in upload.pieces():
        if _is_over(answering):
            return True
        try:
            async with asyncio.timeout(silence):
                await send_piece(stream, piece, chunked=chunked)
        except ConnectionError:
            return True
    if chunked:
        await stream.write(b"0\r\n%b\r\n" % upload.trailers)
    return False


def _is_over(answering: asyncio.Future[ResponseHead]) -> bool:
    """Return whether the server has answered or can no longer answer."""
    if not answering.done():
        return False
    return answering.exception() is not None or answering.result().status >= 200


async def _first(stream: ByteStream) -> ResponseHead:
    """Read the next head, interim or final."""
    for _ in range(_MOST_INTERIM):
        head = await messages.read_response(stream)
        if head.status in (102, 103):
            continue
        return head
    raise messages.BadMessage("too many interim responses")


async def _final(stream: ByteStream) -> ResponseHead:
    for _ in range(_MOST_INTERIM):
        head = await messages.read_response(stream)
        if head.status >= 200:
            return head
    raise messages.BadMessage("too many interim responses")
