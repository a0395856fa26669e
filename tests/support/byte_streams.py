"""Connections on which given bytes arrive."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from efss_transfer.webdav.http.streams import ByteStream

Found = TypeVar("Found")


def given(data: bytes, read: Callable[[ByteStream], Awaitable[Found]]) -> Found:
    """What is read from a connection on which these bytes arrive, and then its end."""

    async def run() -> Found:
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        with there:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(there, data))
            sending.add_done_callback(lambda _: there.shutdown(socket.SHUT_WR))
            stream = ByteStream(here)
            try:
                return await asyncio.wait_for(read(stream), 10)
            finally:
                await sending
                stream.close()

    return asyncio.run(run())
