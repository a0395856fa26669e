"""Relays bytes between two connections in both directions.

The bytes move from socket to pipe to socket within the kernel (splice(2)), so Python never
sees them; where splice is unavailable, they move through a buffer. If one side does not read,
the other side is not read either: at most one buffer of data waits for each direction.

What one side does, the other side sees:

* the end of one side's stream arrives as an end of stream, after everything that it sent, and
  the other direction continues;
* a broken connection arrives as a broken connection (RST), not as an end of stream: a file
  that ends where its connection ends, as with FTP, must not look complete;
* a server's response to an upload arrives even if the server closes before reading it all.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Final, Protocol, Self

_LARGE_BYTES: Final = 1 << 20  # the largest pipe of an unprivileged user
_SMALL_BYTES: Final = 1 << 16  # the default size of a pipe
_MAX_LARGE: Final = 4
"""How many large buffers a guard has. Large buffers save time, but one user may have only 64
large pipes in all, and a slow reader keeps one for as long as it is slow.
"""
_FILLS_PER_TURN: Final = 4
"""How often one direction fills its buffer before other connections have their turn."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, for zero seconds


class _Buffer(Protocol):
    """Holds bytes that were read and not yet written: `used` of at most `size`."""

    size: int
    used: int

    def fill(self, source: socket.socket) -> int:
        """Read what is available into the empty buffer; 0 is the end of the stream."""

    def drain(self, target: socket.socket) -> None:
        """Write some of the content."""

    def close(self) -> None:
        """Discard the content, and free the buffer."""


class _PipeBuffer:
    """A pipe, through which splice(2) moves references to pages instead of bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if size != _SMALL_BYTES:
            with suppress(OSError):  # the user's limit on large pipes is reached
                fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, size)

    def fill(self, source: socket.socket) -> int:
        flags = os.SPLICE_F_NONBLOCK
        self.used = os.splice(source.fileno(), self._in, self.size, flags=flags)
        return self.used

    def drain(self, target: socket.socket) -> None:
        flags = os.SPLICE_F_NONBLOCK
        written = os.splice(self._out, target.fileno(), self.used, flags=flags)
        if not written:
            raise BrokenPipeError
        self.used -= written

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)


class _MemoryBuffer:
    """Memory of this process."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._start = 0
        self._bytes = memoryview(bytearray(size))

    def fill(self, source: socket.socket) -> int:
        self._start = 0
        self.used = source.recv_into(self._bytes)
        return self.used

    def drain(self, target: socket.socket) -> None:
        written = target.send(self._bytes[self._start : self._start + self.used])
        self._start += written
        self.used -= written

    def close(self) -> None:
        self._bytes.release()


def _is_readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(1000))


@cache
def splice_works() -> bool:
    """Whether splice(2) works between sockets here; emulated kernels may lack it."""
    if not hasattr(os, "splice"):
        return False
    pipe = _PipeBuffer(_SMALL_BYTES)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
            near.connect(listener.getsockname())
            with listener.accept()[0] as far:
                near.send(b"?")
                if not _is_readable(far):
                    return False
                pipe.fill(far)
                pipe.drain(far)
                return _is_readable(near) and near.recv(2) == b"?"
    except OSError:
        return False
    finally:
        pipe.close()


class BufferPool:
    """The buffers of many relays. A context manager that closes those that are not in use.

    A direction has a buffer only while bytes wait in it. So hundreds of idle connections need
    no descriptors, and a few large buffers are enough for all connections that keep up.
    """

    def __init__(self) -> None:
        self._create: Callable[[int], _Buffer] = _PipeBuffer if splice_works() else _MemoryBuffer
        self._large_count = 0
        self._spare: list[_Buffer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for buffer in self._spare:
            buffer.close()

    def acquire(self) -> _Buffer:
        """An empty buffer."""
        if self._spare:
            return self._spare.pop()
        size = _LARGE_BYTES if self._large_count < _MAX_LARGE else _SMALL_BYTES
        try:
            buffer = self._create(size)
        except OSError:  # the process has no descriptors left
            buffer = _MemoryBuffer(size)
        self._large_count += size == _LARGE_BYTES
        return buffer

    def release(self, buffer: _Buffer) -> None:
        """Keep an empty large buffer for reuse, and close any other.

        A buffer's bytes must never reach another connection.
        """
        if buffer.size == _LARGE_BYTES and not buffer.used:
            self._spare.append(buffer)
        else:
            self._large_count -= buffer.size == _LARGE_BYTES
            buffer.close()


class _Direction:
    """One direction of a relay.

    It watches its source; while its buffer holds bytes that the target did not accept, it
    watches the target instead. After `ended` it watches neither. `broken` says that it ended
    because the target's connection broke.
    """

    opposite: _Direction

    def __init__(self, source: socket.socket, target: socket.socket, buffers: BufferPool) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._target = target
        self._buffers = buffers
        self._buffer: _Buffer | None = None
        self._is_blocked = False
        self.broken = False
        self.ended: asyncio.Future[None] = self._loop.create_future()
        # Descriptors, because asyncio formats a socket as text each time, with system calls.
        self._source_fd, self._target_fd = source.fileno(), target.fileno()
        self._loop.add_reader(self._source_fd, self._step)

    def close(self) -> None:
        """Stop watching, and release the buffer."""
        if self._is_blocked:
            self._loop.remove_writer(self._target_fd)
        else:
            self._loop.remove_reader(self._source_fd)
        if self._buffer is not None:
            self._buffers.release(self._buffer)
            self._buffer = None

    def _step(self) -> None:
        if self.ended.done():
            return  # cancelled a moment ago
        try:
            ended = self._move()
        except Exception as error:  # noqa: BLE001 - relay() raises it
            self.close()
            self.ended.set_exception(error)
        else:
            if ended:
                self.close()
                self.ended.set_result(None)

    def _move(self) -> bool:
        """Relay what is available, for one turn. Returns whether the direction has ended.

        Raises OSError if the source's connection broke.
        """
        buffer = self._buffer = self._buffer or self._buffers.acquire()
        try:
            for _ in range(_FILLS_PER_TURN):
                was_left_over = bool(buffer.used)
                if not was_left_over and not buffer.fill(self._source):
                    if not self.opposite.broken:
                        with suppress(OSError):  # the opposite direction will see that it broke
                            self._target.shutdown(socket.SHUT_WR)
                    return True
                is_source_empty = not was_left_over and buffer.used < buffer.size
                while buffer.used:
                    buffer.drain(self._target)
                if is_source_empty:
                    break  # the loop calls again for more bytes, or for the end
        except BlockingIOError:
            pass
        except OSError:
            if not buffer.used:
                raise
            # The target's last bytes may still be unread. Shutting down its stream ends them.
            self.broken = True
            with suppress(OSError):
                self._target.shutdown(socket.SHUT_RD)
            return True
        self._watch(is_blocked=bool(buffer.used))
        return False

    def _watch(self, *, is_blocked: bool) -> None:
        if not is_blocked and self._buffer is not None:
            self._buffers.release(self._buffer)
            self._buffer = None
        if is_blocked and not self._is_blocked:
            self._loop.remove_reader(self._source_fd)
            self._loop.add_writer(self._target_fd, self._step)
        elif self._is_blocked and not is_blocked:
            self._loop.remove_writer(self._target_fd)
            self._loop.add_reader(self._source_fd, self._step)
        self._is_blocked = is_blocked


async def relay(one: socket.socket, other: socket.socket, buffers: BufferPool) -> None:
    """Relay bytes until both sides have ended their streams; then both may be closed.

    Both sockets must be non-blocking. Raises OSError if a connection broke. After that, and
    after a cancellation, closing the sockets resets both connections.
    """
    there, back = _Direction(one, other, buffers), _Direction(other, one, buffers)
    there.opposite, back.opposite = back, there
    try:
        await asyncio.gather(there.ended, back.ended)
        if there.broken or back.broken:
            raise BrokenPipeError
    except BaseException:
        for side in (one, other):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise
    finally:
        for direction in (there, back):
            direction.close()
