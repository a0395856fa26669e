"""Bytes, ends of streams and broken connections are passed on as they are."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from efss_transfer.egress import relay
from support.socks import (
    GREETING,
    MIB,
    PATIENCE,
    WELCOME,
    RecordingCheck,
    allow_all,
    echo,
    eventually,
    guard,
    idle,
    listening,
    read,
    read_all,
    request,
    reset,
    serves,
    through,
)


def chunks(size: int, seed: int) -> Iterator[bytes]:
    """Random bytes in chunks of random sizes, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    block = chance.randbytes(4 * MIB)
    while size:
        piece = min(size, chance.choice([1, 100, 1460, 1 << 16, 1 << 18, 3 * MIB]))
        start = chance.randrange(len(block) - piece)
        yield block[start : start + piece]
        size -= piece


def test_200_mib_are_relayed_unchanged(relay_mode: str, nothing_left: None) -> None:
    size = 200 * MIB
    with listening(echo) as server, guard(allow_all) as gate, through(gate, server.port) as client:

        def send() -> None:
            for piece in chunks(size, 1):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)

        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send)
            chance, received = random.Random(2), 0  # noqa: S311 - the same in every run
            for piece in chunks(size, 1):
                got = bytearray()
                while len(got) < len(piece):
                    most = min(len(piece) - len(got), chance.choice([1000, 1 << 16, MIB]))
                    part = client.recv(most)
                    assert part, f"it ended after {received} bytes"
                    got += part
                    if chance.random() < 0.001:
                        time.sleep(0.01)  # a reader that is slow now and then
                assert got == piece
                received += len(piece)
            assert client.recv(1) == b""
            sent.result()


def test_reader_that_pauses_stops_the_writer(relay_mode: str, nothing_left: None) -> None:
    released = threading.Event()
    received: list[bytes] = []

    def late(connection: socket.socket) -> None:
        assert released.wait(PATIENCE)
        received.append(read_all(connection))

    with (
        listening(late) as server,
        guard(allow_all) as gate,
        through(gate, server.port) as client,
        selectors.DefaultSelector() as writable,
    ):
        writable.register(client, selectors.EVENT_WRITE)
        client.setblocking(False)
        block, sent = random.Random(3).randbytes(MIB), 0  # noqa: S311 - the same in every run
        while writable.select(1):
            with suppress(BlockingIOError):
                sent += client.send(block[sent % MIB :])
        # The most that four socket buffers and one pipe can hold.
        assert sent < 150 * MIB
        assert idle()
        released.set()
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert len(received[0]) == sent
    assert received[0] == (block * (sent // MIB + 1))[:sent]


def test_end_of_stream_leaves_the_other_direction_open(relay_mode: str, nothing_left: None) -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        connection.sendall(b"%d bytes" % len(read_all(connection)))

    def question(connection: socket.socket) -> None:
        connection.sendall(b"how many?")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    heard: list[bytes] = []
    with guard(allow_all) as gate:
        with listening(answer_at_the_end) as server, through(gate, server.port) as client:
            client.sendall(bytes(5 * MIB))
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"5242880 bytes"
        with listening(question) as server:
            with through(gate, server.port) as client:
                assert read_all(client) == b"how many?"
                client.sendall(b"three" * MIB)
            assert eventually(lambda: bool(heard))
    assert heard == [b"three" * MIB]


def test_broken_connection_does_not_look_like_an_end_of_stream(
    relay_mode: str, nothing_left: None
) -> None:
    def break_off(connection: socket.socket) -> None:
        connection.sendall(b"half of a fi")
        read(connection, 1)
        reset(connection)

    def expect_more(connection: socket.socket) -> None:
        try:
            outcome.append(read_all(connection))
        except ConnectionResetError:
            outcome.append(b"broken")

    outcome: list[bytes] = []
    with guard(allow_all) as gate:
        with listening(break_off) as server, through(gate, server.port) as client:
            assert read(client, 12) == b"half of a fi"
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with listening(expect_more) as server:
            with through(gate, server.port) as client:
                client.sendall(b"half of a fi")
                reset(client)
            assert eventually(lambda: bool(outcome))
    assert outcome == [b"broken"]


def test_response_to_an_aborted_upload_arrives(relay_mode: str, nothing_left: None) -> None:
    def refuse(connection: socket.socket) -> None:
        read(connection, 1)
        connection.sendall(b"413 Content Too Large")
        # Closing with most of the upload unread resets the connection.

    with listening(refuse) as server, guard(allow_all) as gate:
        for _ in range(20):
            with through(gate, server.port) as client:
                with suppress(ConnectionError):
                    while True:
                        client.sendall(bytes(MIB))
                assert read(client, 21) == b"413 Content Too Large"


def test_response_arrives_although_writing_fails_first(relay_mode: str, nothing_left: None) -> None:
    def pair() -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname(), PATIENCE)
            far, _ = listener.accept()
        far.setblocking(False)
        return near, far

    client, from_client = pair()
    server, to_server = pair()
    # All of this happens before the relay starts; it handles the client's bytes first.
    client.sendall(b"upload")
    to_server.send(b"unread, which makes a connection break when it is closed")
    server.sendall(b"413 Content Too Large")
    server.close()
    assert eventually(lambda: to_server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)

    async def pass_on() -> None:
        with relay.BufferPool() as carriers:
            await relay.relay(from_client, to_server, carriers)

    with client:
        with from_client, to_server, pytest.raises(OSError):
            asyncio.run(pass_on())
        assert read(client, 21) == b"413 Content Too Large"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_simultaneous_connections_do_not_mix_bytes(relay_mode: str, nothing_left: None) -> None:
    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def one(number: int, gate_port: int, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate_port)
        writer.write(GREETING + request("127.0.0.1", port))
        assert (await reader.readexactly(14))[:6] == WELCOME + b"\x05\x00"
        mine = random.Random(number).randbytes(MIB)  # noqa: S311 - the same in every run

        async def send() -> None:
            for start in range(0, MIB, 1 << 14):
                writer.write(mine[start : start + (1 << 14)])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read(-1) == mine
        await sending
        writer.close()

    async def all_of_them(gate_port: int) -> None:
        server = await asyncio.start_server(back, "127.0.0.1", backlog=256)
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*(one(number, gate_port, port) for number in range(64)))
        server.close()
        await server.wait_closed()

    policy = RecordingCheck()
    with guard(policy) as gate:
        asyncio.run(all_of_them(gate.port))
    assert len(policy.calls) == 64


@pytest.mark.parametrize("broken", ["missing", "refused"])
def test_bytes_go_through_memory_without_splice(
    broken: str, nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EINVAL, "no such thing here")

    assert relay.splice_works()
    relay.splice_works.cache_clear()
    try:
        if broken == "missing":
            monkeypatch.delattr(os, "splice")
        else:
            monkeypatch.setattr(os, "splice", refuse)
        with guard(allow_all) as gate:
            assert serves(gate)
        assert not relay.splice_works()
    finally:
        relay.splice_works.cache_clear()


def test_bytes_go_through_memory_without_descriptors(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pipe2(_: int) -> Any:
        raise OSError(errno.EMFILE, "out of descriptors")

    with guard(allow_all) as gate:
        monkeypatch.setattr(os, "pipe2", pipe2)
        assert serves(gate)
