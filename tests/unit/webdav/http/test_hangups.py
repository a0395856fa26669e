"""An engine that hangs up inside a request, before a server that is silent."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing

import pytest

from efss_transfer.webdav.dialects import of_vendor
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http import server
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, Origin
from efss_transfer.webdav.http.server import EngineReply, EngineRequest
from efss_transfer.webdav.session import ServerSession
from support.webdav_gateway import dial

SECONDS = 1.0
PUT = b"PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
SMALL_PUT = b"PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
GET = b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n"


class Silent:
    """A server that reads all, and says nothing or only the beginning of an answer."""

    def __init__(self, beginning: bytes) -> None:
        self.beginning = beginning
        self.heads: list[bytes] = []
        self.received = 0
        self.came = asyncio.Event()
        self.left = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        wanted = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if b"100-continue" in head:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(self.beginning)
        if not head.startswith(b"DELETE"):
            while True:
                if self.received >= wanted:
                    self.came.set()
                if not (piece := await reader.read(1 << 16)):
                    break
                self.received += len(piece)
            self.left.set()
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def gateway_before(beginning: bytes) -> AsyncIterator[tuple[Silent, socket.socket]]:
    """A gateway, and the engine's end of a connection to it."""
    silent = Silent(beginning)
    listener = await asyncio.start_server(silent.attend, "127.0.0.1", 0)
    origin = Origin("http", "127.0.0.1", listener.sockets[0].getsockname()[1])
    connections = Connections(dial)
    session = ServerSession(Upstream(origin, connections), "/")
    gateway = Gateway(session, connections, of_vendor("other"))
    engine, accepted = socket.socketpair()
    engine.setblocking(False)
    accepted.setblocking(False)
    attending = asyncio.create_task(gateway.attend(accepted))
    try:
        yield silent, engine
        # Its end is no cancellation: nobody has cancelled it but itself.
        await asyncio.wait_for(attending, 5)
    finally:
        engine.close()
        silent.close()
        listener.close()
        gateway.begin_close()
        await gateway.close()


@pytest.mark.parametrize(
    ("request_", "beginning"),
    [
        pytest.param(GET, b"", id="get"),
        pytest.param(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", id="get-short-rest"),
        pytest.param(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nx", id="get-rest"),
        pytest.param(SMALL_PUT, b"", id="put-small"),
        pytest.param(PUT, b"", id="put"),
    ],
)
def test_request_to_the_server_ends_when_the_engine_hangs_up(
    request_: bytes, beginning: bytes
) -> None:
    async def run() -> None:
        async with gateway_before(beginning) as (silent, engine):
            await asyncio.get_running_loop().sock_sendall(engine, request_)
            await asyncio.wait_for(silent.came.wait(), 5)
            begun = time.monotonic()
            engine.close()
            await asyncio.wait_for(silent.left.wait(), 5)
            assert time.monotonic() - begun < SECONDS

    asyncio.run(run())


def test_hang_up_behind_data_that_nobody_reads_is_noticed() -> None:
    async def run() -> None:
        async with gateway_before(b"") as (silent, engine):
            await asyncio.get_running_loop().sock_sendall(engine, GET + b"and more")
            await asyncio.wait_for(silent.came.wait(), 5)
            engine.close()
            await asyncio.wait_for(silent.left.wait(), SECONDS)

    asyncio.run(run())


def test_engine_that_waits_is_answered_however_long_it_takes() -> None:
    async def slow(_: EngineRequest, reply: EngineReply) -> None:
        await asyncio.sleep(1.0)
        await reply.send(200, b"late")

    assert b"late" in asyncio.run(asked(slow, GET))


async def asked(
    handle: Callable[[EngineRequest, EngineReply], Awaitable[None]], request: bytes
) -> bytes:
    engine, accepted = socket.socketpair()
    engine.setblocking(False)
    accepted.setblocking(False)
    serving = asyncio.create_task(server.serve(accepted, handle))
    with closing(engine):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(engine, request)
        answer = b""
        while b"late" not in answer:
            piece = await asyncio.wait_for(loop.sock_recv(engine, 1 << 16), 5)
            assert piece
            answer += piece
    await asyncio.wait_for(serving, 5)
    return answer
