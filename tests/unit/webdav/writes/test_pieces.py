from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.exchange import Held
from efss_transfer.webdav.http.server import EngineGone
from efss_transfer.webdav.http.streams import ByteStream
from efss_transfer.webdav.writes.pieces import LARGEST, SMALLEST, Pieces


async def sent(connection: socket.socket, content: bytes, *, ends: bool) -> None:
    """Send a body in chunks, which end or break off."""
    loop = asyncio.get_running_loop()
    for start in range(0, len(content), 1 << 16):
        piece = content[start : start + (1 << 16)]
        await loop.sock_sendall(connection, b"%x\r\n%b\r\n" % (len(piece), piece))
    if ends:
        await loop.sock_sendall(connection, b"0\r\n\r\n")
    connection.close()


async def arriving(stack: AsyncExitStack, content: bytes, *, ends: bool = True) -> Body:
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    stream = ByteStream(ours)
    task = asyncio.create_task(sent(theirs, content, ends=ends))
    stack.callback(stream.close)
    stack.callback(task.cancel)
    stack.callback(theirs.close)
    return Body(stream, "chunked")


def within(work: Callable[[AsyncExitStack], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(run())


def data(piece: Held) -> bytes:
    return piece.data


@pytest.mark.parametrize("size", [0, 1, SMALLEST, LARGEST - 1, LARGEST, LARGEST + 1, 3 * LARGEST])
def test_pieces_make_the_body(size: int) -> None:
    async def work(stack: AsyncExitStack) -> None:
        content = os.urandom(size)
        body = await arriving(stack, content)
        pieces = [data(piece) async for piece in Pieces().cut(body)]
        assert b"".join(pieces) == content
        assert body.ended
        assert size >= LARGEST or len(pieces) == 1
        # One body alone is cut into large pieces; the last read may go beyond the limit.
        assert all(LARGEST <= len(piece) < LARGEST + (1 << 18) for piece in pieces[:-1])

    within(work)


def test_body_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    async def work(stack: AsyncExitStack) -> None:
        body = await arriving(stack, b"x" * 100_000, ends=False)
        with pytest.raises(EngineGone):
            [piece async for piece in Pieces().cut(body)]

    within(work)


def test_many_bodies_hold_little_and_none_waits_for_another() -> None:
    async def work(stack: AsyncExitStack) -> None:
        pieces = Pieces()
        cuts = []
        for _ in range(32):
            body = await arriving(stack, bytes(2 * LARGEST))
            cuts.append(await stack.enter_async_context(aclosing(pieces.cut(body))))
        # Each holds its first piece, as if a server had yet to take it.
        held = [len(data(await anext(cut))) for cut in cuts]
        assert min(held) >= SMALLEST
        assert max(held) >= LARGEST
        assert sum(held) <= (32 << 20) + LARGEST + 32 * (SMALLEST + (1 << 18))
        # Once they let go of it, large pieces are possible again.
        for cut in cuts[1:]:
            await cut.aclose()
        assert len(data(await anext(cuts[0]))) >= LARGEST

    within(work)
