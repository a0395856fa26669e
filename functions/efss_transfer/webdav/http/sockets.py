"""Receive and send on a socket that the event loop watches all the time.

`loop.sock_recv` watches it anew for each message, which takes two more system calls and a dozen
function calls.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

_MOST: Final = 1 << 14
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, for zero seconds
_NOTHING: Final = memoryview(b"")


class WatchedSocket:
    """Non-blocking socket, which it owns. One task receives at a time, one sends.

    The event loop watches it from the first wait on, until bytes arrive that nobody waits for:
    these stay in the kernel, whose buffers fill, so that the peer waits.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._descriptor = connection.fileno()
        self._is_watched = False
        self._waiter: asyncio.Future[int] | None = None
        self._into: bytearray | memoryview = _NOTHING
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        with suppress(OSError):  # a socket pair has no such option
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def allow(self, seconds: float | None) -> None:
        """Let it wait so long from now on; then it raises TimeoutError."""
        self._deadline = None if seconds is None else self._loop.time() + seconds

    async def readable(self, seconds: float) -> None:
        """Wait so long until it has data or has ended. Raises TimeoutError."""
        before = self._deadline
        self.allow(seconds)
        try:
            await self._arrival(_NOTHING)
        finally:
            self._deadline = before

    async def receive(self, into: bytearray) -> int:
        """Append the available bytes, and return their number; 0 at the end."""
        if not self._is_watched:  # they may have arrived already
            try:
                data = self.connection.recv(_MOST)
            except BlockingIOError:
                pass
            else:
                into += data
                return len(data)
        return await self._arrival(into)

    async def receive_into(self, buffer: memoryview) -> int:
        """Receive the available bytes into a buffer. The next part of a large body is often there
        already.
        """
        try:
            return self.connection.recv_into(buffer)
        except BlockingIOError:
            return await self._arrival(buffer)

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all bytes."""
        try:
            sent = self.connection.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            async with asyncio.timeout_at(self._deadline):
                await self._loop.sock_sendall(self.connection, memoryview(data)[sent:])

    @property
    def is_idle(self) -> bool:
        """Return whether the connection is open and has no unread data."""
        if self._is_watched:
            return True  # otherwise the event loop would have noticed it
        try:
            self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close the connection in the normal way."""
        self.unwatch()
        self.connection.close()

    def abort(self) -> None:
        """Reset the connection, so that the peer cannot mistake partial data for the whole."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def unwatch(self) -> None:
        """Leave the socket to somebody else."""
        self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()

    def _arrival(self, into: bytearray | memoryview) -> asyncio.Future[int]:
        self._into = into
        waiter = self._waiter = self._loop.create_future()
        if not self._is_watched:
            self._loop.add_reader(self._descriptor, self._arrived)
            self._is_watched = True
        if self._deadline is not None and (
            self._timer is None or self._timer.when() > self._deadline
        ):
            self._start_timer(self._deadline)
        return waiter

    def _arrived(self) -> None:
        """Receive for the task that waits: before it runs, the loop would report the same bytes
        again.
        """
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self._stop_watching()
            return
        try:
            count = self._received()
        except BlockingIOError:
            self._waiter = waiter
        except OSError as error:
            waiter.set_exception(error)
        else:
            waiter.set_result(count)

    def _received(self) -> int:
        into = self._into
        if isinstance(into, bytearray):
            data = self.connection.recv(_MOST)
            into += data
            return len(data)
        if into is _NOTHING:
            self._stop_watching()
            return 0
        return self.connection.recv_into(into)

    def _start_timer(self, when: float) -> None:
        """Check the deadline at this time. One timer lasts for many waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done() or self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._start_timer(self._deadline)
        else:
            self._waiter.set_exception(TimeoutError())

    def _stop_watching(self) -> None:
        if self._is_watched:
            self._loop.remove_reader(self._descriptor)
            self._is_watched = False
