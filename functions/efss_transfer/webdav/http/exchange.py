"""One request and its answer on one connection, with bodies that stream both ways."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.connections import Lease, NoAnswer, Origin
from efss_transfer.webdav.http.messages import Body, ResponseHead
from efss_transfer.webdav.http.splice import move
from efss_transfer.webdav.http.streams import ByteStream

_CONTINUE_SECONDS: Final = 1.0
_MOST_INTERIM: Final = 16
_DRAINED: Final = 1 << 16


class Upload(Protocol):
    """A request's body."""

    @property
    def length(self) -> int | None:
        """Its size, if that is known."""

    @property
    def replayable(self) -> bool:
        """Whether it can be sent once more: all of it is at hand, or nothing was taken."""

    def pieces(self) -> AsyncIterator[memoryview | bytes]:
        """From its beginning. None is empty; each is valid until the next one.

        What goes wrong while it is read must be no OSError, which would be the server's.
        """


@runtime_checkable
class Movable(Protocol):
    """A body that may be moved from socket to socket."""

    def may_move(self, target: ByteStream) -> bool:
        """Whether it can be, to this stream."""

    def move(self, target: ByteStream, silence: float) -> AsyncGenerator[int, None]:
        """Move it; the bytes of each piece."""


class Held:
    """A body that is in memory."""

    replayable: Final = True

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length: int | None = len(data)

    @property
    def sha1(self) -> str:
        """Its hash, as WebDAV servers know it."""
        return hashlib.sha1(self._data, usedforsecurity=False).hexdigest()

    async def pieces(self) -> AsyncIterator[memoryview | bytes]:
        """The one piece."""
        if self._data:
            yield self._data


@dataclass(frozen=True)
class Call:
    """A request. `target` is an absolute path, percent-encoded, with its query if any.

    One that is sent `beside` another, which waits for it, needs no free place among the
    connections: otherwise as many as there are places could wait for each other.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    beside: bool = False


@dataclass
class Answer:
    """An answer whose body is still to be read, while the block that gave it lasts."""

    head: ResponseHead
    body: Body
    origin: Origin
    target: str
    silence: float
    redirects: tuple[str, ...] = ()

    async def read(self, buffer: memoryview) -> int:
        """Read some of the body; 0 at its end. Raises NoAnswer if it is cut off."""
        try:
            async with asyncio.timeout(self.silence):
                return await self.body.read(buffer)
        except (OSError, messages.BadMessage) as error:
            raise no_answer(self.origin, error) from error

    def moved_to(self, target: ByteStream) -> AsyncGenerator[int, None]:
        """Move the body to a stream within the kernel; the bytes of each piece."""
        return move(self.body, target, self.silence, lambda error: no_answer(self.origin, error))

    async def text(self, limit: int) -> bytes:
        """The body, or as much of it as there is room for. Raises NoAnswer."""
        buffer = memoryview(bytearray(1 << 14))
        pieces: list[bytes] = []
        while self.body.count < limit and (count := await self.read(buffer)):
            pieces.append(bytes(buffer[:count]))
        return b"".join(pieces)[:limit]

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return self.head.status

    def header(self, name: str) -> str | None:
        """A header by its name in small letters."""
        return self.head.headers.get(name)


def no_answer(origin: Origin, error: Exception) -> NoAnswer:
    """What went wrong on the way to an answer, as the one error for it."""
    if isinstance(error, NoAnswer):
        return error
    if isinstance(error, TimeoutError):
        return NoAnswer("timeout", f"{origin.authority} is silent (i/o timeout)")
    if isinstance(error, messages.BadMessage):
        return NoAnswer("protocol", f"{origin.authority}: malformed HTTP response")
    return NoAnswer("broken", f"{origin.authority}: connection reset")


async def settle(lease: Lease, head: ResponseHead, body: Body) -> None:
    """Keep the connection if the rest of a body is short and there; else break it off."""
    if not head.keep_alive or body.length == "close":
        return
    if not body.ended and isinstance(body.length, int) and body.length - body.count > _DRAINED:
        return
    if not body.ended:
        buffer = memoryview(bytearray(1 << 14))
        with suppress(OSError, messages.BadMessage):
            async with asyncio.timeout(1):
                while body.count < (1 << 20) and await body.read(buffer):
                    pass
    lease.reusable = body.ended


async def converse(stream: ByteStream, head: bytes, call: Call, silence: float) -> ResponseHead:
    """Send a request and read the head of its answer, which may come before all is sent."""
    upload = call.upload
    if upload is None or isinstance(upload, Held):
        whole = (
            b"".join([head, *[bytes(piece) async for piece in upload.pieces()]])
            if (upload is not None)
            else head
        )
        async with asyncio.timeout(silence):
            try:
                await stream.write(whole)
            except ConnectionError:
                return await _final(stream)  # a server's last words, if it has any
            return await _final(stream)
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
    """Send a body until it ends or is answered; whether the server stopped listening."""
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
                await messages.send_piece(stream, piece, chunked=chunked)
        except ConnectionError:
            return True
    if chunked:
        await stream.write(b"0\r\n\r\n")
    return False


def _is_over(answering: asyncio.Future[ResponseHead]) -> bool:
    """Whether the server has answered, or never will."""
    if not answering.done():
        return False
    return answering.exception() is not None or answering.result().status >= 200


async def _first(stream: ByteStream) -> ResponseHead:
    """The next head, whether interim or not."""
    for _ in range(_MOST_INTERIM):
        head = await messages.read_response(stream)
        if head.status in (102, 103):
            continue
        return head
    raise messages.BadMessage("no end of interim answers")


async def _final(stream: ByteStream) -> ResponseHead:
    for _ in range(_MOST_INTERIM):
        head = await messages.read_response(stream)
        if head.status >= 200:
            return head
    raise messages.BadMessage("no end of interim answers")
