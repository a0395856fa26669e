"""Receiving, deadlines and backpressure on a socket that the event loop watches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from efss_transfer.webdav.http.sockets import WatchedSocket

_MORE_THAN_BUFFERS = bytes(1 << 26)


def between(scene: Callable[[WatchedSocket, socket.socket], Awaitable[None]]) -> None:
    """Play a scene with a watched socket and its peer."""

    async def play() -> None:
        here, peer = socket.socketpair()
        with peer:
            here.setblocking(False)
            peer.setblocking(False)
            watched = WatchedSocket(here)
            try:
                async with asyncio.timeout(20):
                    await scene(watched, peer)
            finally:
                watched.close()

    asyncio.run(play())


def test_bytes_are_received_whether_they_come_before_or_after_the_wait() -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        received = bytearray()
        peer.send(b"early ")
        assert await watched.receive(received) == 6
        for word in (b"late ", b"later"):
            waiting = asyncio.ensure_future(watched.receive(received))
            await asyncio.sleep(0)
            peer.send(word)
            assert await waiting == len(word)
        assert received == b"early late later"
        peer.close()
        assert await watched.receive(received) == 0

    between(scene)


def test_bytes_that_nobody_waits_for_are_left_to_the_kernel() -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        received = bytearray()
        peer.send(b"first")
        await watched.receive(received)
        waiting = asyncio.ensure_future(watched.receive(received))
        await asyncio.sleep(0)  # from here on the event loop watches the socket
        peer.send(b"second")
        await waiting
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(peer, _MORE_THAN_BUFFERS))
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done, "the peer could send without a reader"
        assert received == b"firstsecond"
        buffer, count = memoryview(bytearray(1 << 20)), 0
        while count < len(_MORE_THAN_BUFFERS):
            count += await watched.receive_into(buffer)
        await sending

    between(scene)


def test_a_silent_peer_is_a_timeout() -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        watched.allow(0.1)
        with pytest.raises(TimeoutError):
            await watched.receive(bytearray())
        watched.allow(0.1)
        with pytest.raises(TimeoutError):
            await watched.receive_into(memoryview(bytearray(9)))
        watched.allow(0.1)
        with pytest.raises(TimeoutError):
            await watched.send(_MORE_THAN_BUFFERS)

    between(scene)


def test_a_later_deadline_replaces_an_earlier_one() -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        received = bytearray()
        watched.allow(0.1)
        waiting = asyncio.ensure_future(watched.receive(received))
        await asyncio.sleep(0)
        watched.allow(10.0)
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        peer.send(b"slow")
        assert await waiting == 4
        # An earlier one holds as well, though the timer was set for the later one.
        watched.allow(0.1)
        with pytest.raises(TimeoutError):
            await watched.receive(received)
        watched.allow(None)
        waiting = asyncio.ensure_future(watched.receive(received))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        waiting.cancel()

    between(scene)


def test_a_wait_for_more_has_its_own_time_and_receives_nothing() -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        watched.allow(0.0)  # the time of an exchange that began long ago
        with pytest.raises(TimeoutError):
            await watched.readable(0.1)
        waiting = asyncio.ensure_future(watched.readable(10.0))
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        peer.send(b"whole")
        await waiting
        assert watched.connection.recv(9) == b"whole"

    between(scene)


def test_a_cancelled_wait_loses_no_bytes() -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        received = bytearray()
        waiting = asyncio.ensure_future(watched.receive(received))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        peer.send(b"kept")
        await asyncio.sleep(0)
        await watched.receive(received)
        assert received == b"kept"

    between(scene)


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "data"])
def test_a_connection_is_idle_until_its_peer_acts(is_closed: bool) -> None:
    async def scene(watched: WatchedSocket, peer: socket.socket) -> None:
        assert watched.is_idle
        peer.send(b"answer")
        await watched.receive(bytearray())
        waiting = asyncio.ensure_future(watched.receive(bytearray()))
        await asyncio.sleep(0)
        peer.send(b"answer")
        await waiting
        assert watched.is_idle
        if is_closed:
            peer.close()
        else:
            peer.send(b"unasked")
        async with asyncio.timeout(5):
            while watched.is_idle:
                await asyncio.sleep(0)

    between(scene)
