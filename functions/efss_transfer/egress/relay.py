"""Bytes passed on between two connections, both ways, as they come.

They go from socket to pipe to socket within the kernel (splice(2)), so that Python sees
none of them; where that is not to be had, through a buffer. Whoever does not take his
bytes stops the other from being read: what waits is one pipe, never more.

What one side does, the other side sees:

* its end of stream arrives as an end of stream, after all that it sent, and the other
  direction goes on;
* a connection that breaks arrives as one that breaks (RST) and not as an end of stream:
  a file that ends where its connection ends, as with FTP, must not look whole;
* what a server said before it hung up on an upload is passed on first.
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

_LARGE: Final = 1 << 20  # what one user may have without privileges
_SMALL: Final = 1 << 16  # what a pipe has by default
_LARGE_ONES: Final = 4
"""How many large carriers a guard has. Large ones save time, but one user may have only 64
of them in all, and a slow target keeps one for as long as it is slow.
"""
_TURN: Final = 4
"""How often one direction is filled before the others have their turn."""
_ABORT: Final = struct.pack("ii", 1, 0)  # struct linger: on, for no time


class _Carrier(Protocol):
    """What holds the bytes that were read and not yet written: `held` of at most `size`."""

    size: int
    held: int

    def fill(self, source: socket.socket) -> int:
        """Read what there is into it, which must be empty; 0 is the end of the stream."""

    def drain(self, target: socket.socket) -> None:
        """Write some of what it holds."""

    def close(self) -> None:
        """Throw away what it holds."""


class _Pipe:
    """A pipe: nothing is copied but references to the kernel's pages."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if size != _SMALL:
            with suppress(OSError):  # the user has enough of them already
                fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, size)

    def fill(self, source: socket.socket) -> int:
        flags = os.SPLICE_F_NONBLOCK
        self.held = os.splice(source.fileno(), self._in, self.size, flags=flags)
        return self.held

    def drain(self, target: socket.socket) -> None:
        flags = os.SPLICE_F_NONBLOCK
        written = os.splice(self._out, target.fileno(), self.held, flags=flags)
        if not written:
            raise BrokenPipeError
        self.held -= written

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)


class _Buffer:
    """Memory of this process."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self._start = 0
        self._bytes = memoryview(bytearray(size))

    def fill(self, source: socket.socket) -> int:
        self._start = 0
        self.held = source.recv_into(self._bytes)
        return self.held

    def drain(self, target: socket.socket) -> None:
        written = target.send(self._bytes[self._start : self._start + self.held])
        self._start += written
        self.held -= written

    def close(self) -> None:
        self._bytes.release()


def _readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(1000))


@cache
def splices() -> bool:
    """Whether bytes can be spliced here; kernels that are emulated may not know how."""
    if not hasattr(os, "splice"):
        return False
    pipe = _Pipe(_SMALL)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as here:
            here.connect(listener.getsockname())
            with listener.accept()[0] as there:
                here.send(b"?")
                if not _readable(there):
                    return False
                pipe.fill(there)
                pipe.drain(there)
                return _readable(here) and here.recv(2) == b"?"
    except OSError:
        return False
    finally:
        pipe.close()


class Carriers:
    """The pipes of many relays, a context manager that closes those that are not in use.

    A direction has one only while bytes wait in it, so that hundreds of idle connections
    cost no descriptor, and few large ones do for all that keep up.
    """

    def __init__(self) -> None:
        self._make: Callable[[int], _Carrier] = _Pipe if splices() else _Buffer
        self._large = 0
        self._spare: list[_Carrier] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for carrier in self._spare:
            carrier.close()

    def take(self) -> _Carrier:
        """An empty one."""
        if self._spare:
            return self._spare.pop()
        size = _LARGE if self._large < _LARGE_ONES else _SMALL
        try:
            carrier = self._make(size)
        except OSError:  # there are no descriptors left
            carrier = _Buffer(size)
        self._large += size == _LARGE
        return carrier

    def give_back(self, carrier: _Carrier) -> None:
        """Keep a large one for the next; but not what it holds, which is not the next's."""
        if carrier.size == _LARGE and not carrier.held:
            self._spare.append(carrier)
        else:
            self._large -= carrier.size == _LARGE
            carrier.close()


class _Way:
    """One direction of a relay. It watches its source or, while it holds bytes that the
    target did not take, its target; neither once it has `ended`. `broken` says that it
    ended because the target is gone.
    """

    opposite: _Way

    def __init__(self, source: socket.socket, target: socket.socket, carriers: Carriers) -> None:
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._target = target
        self._carriers = carriers
        self._carrier: _Carrier | None = None
        self._blocked = False
        self.broken = False
        self.ended: asyncio.Future[None] = self._loop.create_future()
        # By their numbers: of a socket asyncio makes a text each time, and asks the kernel for it.
        self._from, self._to = source.fileno(), target.fileno()
        self._loop.add_reader(self._from, self._step)

    def close(self) -> None:
        """Watch nothing any more, and hold nothing."""
        if self._blocked:
            self._loop.remove_writer(self._to)
        else:
            self._loop.remove_reader(self._from)
        if self._carrier is not None:
            self._carriers.give_back(self._carrier)
            self._carrier = None

    def _step(self) -> None:
        if self.ended.done():
            return  # cancelled, a moment ago
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
        """Pass on what there is, for one turn; whether that was all there will ever be.

        Raises OSError if the source is gone.
        """
        carrier = self._carrier = self._carrier or self._carriers.take()
        try:
            for _ in range(_TURN):
                left_over = bool(carrier.held)
                if not left_over and not carrier.fill(self._source):
                    if not self.opposite.broken:
                        with suppress(OSError):  # it is gone: the opposite way will see it
                            self._target.shutdown(socket.SHUT_WR)
                    return True
                all_there_was = not left_over and carrier.held < carrier.size
                while carrier.held:
                    carrier.drain(self._target)
                if all_there_was:
                    break  # when there is more, or an end, it is told
        except BlockingIOError:
            pass
        except OSError:
            if not carrier.held:
                raise
            # The target's last words may still be unread. They have an end now.
            self.broken = True
            with suppress(OSError):
                self._target.shutdown(socket.SHUT_RD)
            return True
        self._watch(blocked=bool(carrier.held))
        return False

    def _watch(self, *, blocked: bool) -> None:
        if not blocked and self._carrier is not None:
            self._carriers.give_back(self._carrier)
            self._carrier = None
        if blocked and not self._blocked:
            self._loop.remove_reader(self._from)
            self._loop.add_writer(self._to, self._step)
        elif self._blocked and not blocked:
            self._loop.remove_writer(self._to)
            self._loop.add_reader(self._from, self._step)
        self._blocked = blocked


async def relay(one: socket.socket, other: socket.socket, carriers: Carriers) -> None:
    """Pass on bytes until both sides have sent all they had; then both may be closed.

    Both are non-blocking. Raises OSError if a side broke; and then, as if it is cancelled,
    closing the sockets breaks both connections.
    """
    there, back = _Way(one, other, carriers), _Way(other, one, carriers)
    there.opposite, back.opposite = back, there
    try:
        await asyncio.gather(there.ended, back.ended)
        if there.broken or back.broken:
            raise BrokenPipeError
    except BaseException:
        for side in (one, other):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        raise
    finally:
        for way in (there, back):
            way.close()
