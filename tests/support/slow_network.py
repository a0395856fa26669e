"""A slower network than loopback: a TCP proxy that delays what passes, and holds its pace.

A process of its own, so that it takes no time from whoever measures. The kernel's own means
(netem) are not to be had everywhere that tests run.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_WINDOW: Final = 16 << 20
"""How many bytes of one direction may be on their way: enough for 1.6 GB/s at 20 ms."""
_SOON_SECONDS: Final = 0.001
_AHEAD_SECONDS: Final = 0.05
"""How far the reading may be ahead of the pace that is held."""
_ABORT: Final = struct.pack("ii", 1, 0)  # struct linger: on, for no time


@contextmanager
def distant(
    url: str, round_trip_seconds: float = 0.0, bytes_per_second: float = 0.0
) -> Iterator[str]:
    """The URL by which a server is reached over such a network, for the length of the block.

    A round trip takes that much longer, and so does the opening of a connection. Each
    connection has its own bound on bytes a second in each direction; 0 is none.
    """
    parts = urlsplit(url)
    command = [sys.executable, str(Path(__file__)), str(parts.hostname), str(parts.port)]
    command += [str(round_trip_seconds), str(bytes_per_second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port.isdecimal(), "the proxy did not start"
            yield parts._replace(netloc=f"127.0.0.1:{port}").geturl()
        finally:
            process.kill()


class _Mark(Enum):
    """What is on its way besides bytes, in its turn: what was sent before it arrives first."""

    END = "no more bytes come this way"
    BREAK = "the connection broke"


class _Side(asyncio.Protocol):
    """What comes in on one side of a connection, and goes out on the other a while later."""

    other: _Side

    def __init__(self, one_way: float, rate: float) -> None:
        self._one_way = one_way
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._free_at = 0.0
        self._last_due = 0.0
        self._on_its_way = 0
        # In their order, whatever the order is in which timers of the same time go off.
        self._pieces: deque[bytes | _Mark] = deque()
        self._full = False
        self._ended = False
        self.transport: asyncio.Transport | None = None
        self.later = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=1 << 20)

    def data_received(self, data: bytes) -> None:
        self._on_its_way += len(data)
        if self._rate:
            # The pace is that of the line: what was sent before has to be through.
            self._free_at = max(self._free_at, self._loop.time()) + len(data) / self._rate
        self._send(data)
        self._pace()

    def eof_received(self) -> bool:
        self._send(_Mark.END)
        return True  # the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._send(_Mark.BREAK)

    def pause_writing(self) -> None:
        self.other.hold(full=True)

    def resume_writing(self) -> None:
        self.other.hold(full=False)

    def hold(self, *, full: bool) -> None:
        """Read no more while who receives it does not take it."""
        self._full = full
        self._pace()

    def _send(self, piece: bytes | _Mark) -> None:
        due = max(self._loop.time(), self._free_at) + self._one_way + self.later
        self._last_due = max(self._last_due, due)
        self._pieces.append(piece)
        self._loop.call_at(self._last_due, self._arrive)

    def _arrive(self) -> None:
        target = self.other.transport
        assert self.transport is not None
        if target is None:
            # Python 3.11.2 reads once although it was told not to, and before there is anybody
            # to send that to.
            if not self.transport.is_closing():
                self._loop.call_later(_SOON_SECONDS, self._arrive)
            return
        piece = self._pieces.popleft()
        self.later = 0.0
        if piece is _Mark.BREAK:
            # As one that breaks (RST), which it is not by itself.
            target.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            target.abort()
        elif piece is _Mark.END:
            self._ended = True
            if self.other._ended:
                target.close()  # after what it still has to write
                self.transport.close()
            elif not target.is_closing():
                target.write_eof()
        else:
            self._on_its_way -= len(piece)
            if not target.is_closing():
                target.write(piece)
            self._pace()

    def _pace(self) -> None:
        assert self.transport is not None
        if self.transport.is_closing():
            return
        ahead = self._rate > 0 and self._free_at - self._loop.time() > _AHEAD_SECONDS
        if self._full or self._on_its_way > _WINDOW or ahead:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


async def _serve(host: str, port: int, round_trip: float, rate: float) -> None:
    loop = asyncio.get_running_loop()

    class Client(_Side):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            # Its first bytes take a round trip more: opening a connection costs that.
            self.later = round_trip
            there = _Side(round_trip / 2, rate)
            self.other, there.other = there, self
            self._task = loop.create_task(self._connect(transport, there))

        async def _connect(self, transport: asyncio.Transport, there: _Side) -> None:
            try:
                await loop.create_connection(lambda: there, host, port)
            except OSError:
                transport.abort()
                return
            if not transport.is_closing():
                transport.resume_reading()

    server = await loop.create_server(
        lambda: Client(round_trip / 2, rate), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("round_trip", type=float)
    parser.add_argument("rate", type=float)
    chosen = parser.parse_args()
    asyncio.run(_serve(chosen.host, chosen.port, chosen.round_trip, chosen.rate))
