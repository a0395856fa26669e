"""That the answer arrives: a connection over which nothing gets through is given up.

A client that stops reading, or vanishes without a word, would keep the sending thread
waiting for ever, and with it the transfer's place. Linux's own bound (TCP_USER_TIMEOUT) is
no remedy: while a client's window is closed it does not count what a slow one does take,
and so it cuts off readers that are slow but go on. Here what counts is what is acknowledged.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from efss_transfer.runtimes.flask.disconnect import connection_of, hung_up

_LOG: Final = logging.getLogger(__name__)

# Together with a look and the end of a daemon this is less than five seconds.
STALLED_SECONDS: Final = 4.0
_LOOK_SECONDS: Final = 0.25

# By name, because not every system has them all.
_OPTIONS: Final = (
    # A client that waits for one answer is sent nothing meanwhile: whether its machine is
    # still there is asked each second, and after three questions without an answer it is gone.
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    # The kernel would take megabytes for a slow reader.
    (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", 16 << 10),
)
# Where two members of Linux's `struct tcp_info` stand (include/uapi/linux/tcp.h).
_ACKED: Final = 120
_UNSENT: Final = 144
# Of a long queue Linux makes long segments, and sends one only when the reader has room
# for all of it: one who takes 8 KB a second then seems to stop for a quarter of a minute.
_MOST_UNSENT: Final = 512
_PIECE: Final = 4096
_PAUSE_SECONDS: Final = 0.02


class DeliveryWatch:
    """The connection of a request, watched until `end`.

    Afterwards it is as it was: whether it is kept for another request, and for how long,
    is the server's business. Where the server tells of no connection nothing is done.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._over = threading.Event()
        self._connection = connection_of(environ)
        self._before: list[tuple[int, int, int]] = []
        if self._connection is not None:
            self._before = _set(self._connection)
            threading.Thread(
                target=_give_up_if_stalled,
                args=(self._connection, self._over),
                name="delivery",
                daemon=True,
            ).start()

    def wait_for_room(self) -> None:
        """Wait until nearly all that was sent is on its way: so it stays with whoever has
        more to tell, and can wait as well.
        """
        while self._connection is not None and _unsent(self._connection) > _MOST_UNSENT:
            if self._over.wait(_PAUSE_SECONDS) or hung_up(self._connection):
                return

    def pieces(self, content: bytes) -> Iterator[bytes]:
        """The content of a long answer, each piece when there is room for it."""
        for begin in range(0, len(content), _PIECE):
            self.wait_for_room()
            yield content[begin : begin + _PIECE]

    def end(self) -> None:
        """Let the connection be as it was. Doing so twice is once."""
        self._over.set()
        before, self._before = self._before, []
        if self._connection is not None:
            for level, option, value in before:
                with suppress(OSError):  # it may be closed
                    self._connection.setsockopt(level, option, value)


def _set(connection: socket.socket) -> list[tuple[int, int, int]]:
    """Set the options that this connection knows; what they were before."""
    before = []
    for level, name, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is None:
            continue
        with suppress(OSError):  # a unix socket knows none of TCP's
            was = connection.getsockopt(level, option)
            connection.setsockopt(level, option, value)
            before.append((level, option, was))
    return before


def _give_up_if_stalled(connection: socket.socket, over: threading.Event) -> None:
    mark, moved = None, time.monotonic()
    while not over.wait(_LOOK_SECONDS):
        try:
            waiting, now = _delivered(connection)
        except (OSError, ValueError):
            return  # it is closed
        if not waiting or now != mark:
            mark, moved = now, time.monotonic()
        elif time.monotonic() - moved >= STALLED_SECONDS:
            _LOG.info("nothing of an answer was taken for %g s: given up", STALLED_SECONDS)
            _give_up(connection)
            over.set()
            return


def _delivered(connection: socket.socket) -> tuple[int, int]:
    """How many bytes wait to be taken, and a number that changes whenever some are."""
    (waiting,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    with suppress(OSError, struct.error):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED + 8)
        (acked,) = struct.unpack_from("Q", info, _ACKED)
        if acked:  # a kernel that only plays Linux's part may leave it out
            return waiting, acked
    return waiting, waiting


def _unsent(connection: socket.socket) -> int:
    """How many bytes wait for room at the reader; 0 where that is not told, or it is closed."""
    with suppress(OSError, struct.error):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNSENT + 4)
        return int(struct.unpack_from("I", info, _UNSENT)[0])
    return 0


def _give_up(connection: socket.socket) -> None:
    """Let the thread that sends go on, into the error that it has for clients who left."""
    with suppress(OSError):
        # What waits is discarded, and a client that looks again sees a break, not an end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not the method of its own that a TLS socket has: another thread is using that one.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
