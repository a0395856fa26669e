"""Delivers responses: paces the sender, and closes a connection whose client accepts no data.

A client that stops reading or vanishes would block the sending thread forever, and with it the
slot of its transfer. Linux's own timeout (TCP_USER_TIMEOUT) does not help: while the receive
window of a client is closed it ignores what a slow reader does accept, and so it disconnects
readers that are slow but active. This module looks at acknowledged bytes instead.
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

from efss_transfer.runtimes.flask.disconnect import client_connection, is_disconnected

_LOG: Final = logging.getLogger(__name__)

# With one polling interval and the time to stop rclone this is less than five seconds.
STALLED_SECONDS: Final = 4.0
_POLL_SECONDS: Final = 0.25

# Options by name, because not every system has all of them.
_OPTIONS: Final = (
    # Nothing is sent to a client that waits for one response. So the kernel probes its host every
    # second, and closes the connection after three probes without a reply.
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    # Otherwise the kernel buffers megabytes for a slow reader.
    (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", 16 << 10),
)
# Offsets of tcpi_bytes_acked and tcpi_notsent_bytes in Linux's `struct tcp_info`
# (include/uapi/linux/tcp.h).
_ACKED_OFFSET: Final = 120
_UNSENT_OFFSET: Final = 144
# From a long queue Linux builds long segments, and sends one only when the reader has room for all
# of it: a client that reads 8 KB a second then seems to stop for 15 seconds.
_MAX_UNSENT_BYTES: Final = 512
_CHUNK_BYTES: Final = 4096
_PAUSE_SECONDS: Final = 0.02


class DeliveryWatch:
    """Watches the connection of a request until `end`, and closes it if it stalls.

    `end` restores the socket's options: keep-alive between requests is the server's business.
    Without access to the connection (see `client_connection`) nothing is watched.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._ended = threading.Event()
        self._connection = client_connection(environ)
        self._original_options: list[tuple[int, int, int]] = []
        if self._connection is not None:
            self._original_options = _set_options(self._connection)
            watch = threading.Thread(
                target=_close_if_stalled,
                args=(self._connection, self._ended),
                name="delivery",
                daemon=True,
            )
            with suppress(RuntimeError):  # no more threads: the request is answered all the same
                watch.start()

    def wait_until_sent(self) -> None:
        """Wait until the kernel has sent nearly all data, so that unsent data stays out of its
        queue and the sender slows down to the pace of the reader.
        """
        while self._connection is not None and _unsent(self._connection) > _MAX_UNSENT_BYTES:
            if self._ended.wait(_PAUSE_SECONDS) or is_disconnected(self._connection):
                return

    def chunks(self, content: bytes) -> Iterator[bytes]:
        """The content of a long response in chunks, each when the previous one has been sent."""
        for begin in range(0, len(content), _CHUNK_BYTES):
            self.wait_until_sent()
            yield content[begin : begin + _CHUNK_BYTES]

    def end(self) -> None:
        """Stop watching and restore the socket's options. Calling it twice is safe."""
        self._ended.set()
        original, self._original_options = self._original_options, []
        if self._connection is not None:
            for level, option, value in original:
                with suppress(OSError):  # the socket may be closed
                    self._connection.setsockopt(level, option, value)


def _set_options(connection: socket.socket) -> list[tuple[int, int, int]]:
    """Set the options that this socket supports; returns their original values."""
    original = []
    for level, name, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is None:
            continue
        with suppress(OSError):  # a unix socket has no TCP options
            previous = connection.getsockopt(level, option)
            connection.setsockopt(level, option, value)
            original.append((level, option, previous))
    return original


def _close_if_stalled(connection: socket.socket, ended: threading.Event) -> None:
    last, progressed = None, time.monotonic()
    while not ended.wait(_POLL_SECONDS):
        try:
            queued, mark = _progress(connection)
        except (OSError, ValueError):
            return  # the socket is closed
        if not queued or mark != last:
            last, progressed = mark, time.monotonic()
        elif time.monotonic() - progressed >= STALLED_SECONDS:
            _LOG.info(
                "closing a connection: its client has accepted no data for %g s", STALLED_SECONDS
            )
            _abort(connection)
            ended.set()
            return


def _progress(connection: socket.socket) -> tuple[int, int]:
    """How many bytes are queued, and a number that changes when the client accepts some."""
    (queued,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    with suppress(OSError, struct.error):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_OFFSET + 8)
        (acked,) = struct.unpack_from("Q", info, _ACKED_OFFSET)
        if acked:  # kernels that emulate Linux may leave it 0
            return queued, acked
    return queued, queued


def _unsent(connection: socket.socket) -> int:
    """How many bytes the kernel has not sent yet; 0 if unknown or the socket is closed."""
    with suppress(OSError, struct.error):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNSENT_OFFSET + 4)
        return int(struct.unpack_from("I", info, _UNSENT_OFFSET)[0])
    return 0


def _abort(connection: socket.socket) -> None:
    """Reset the connection; the sending thread then sees a disconnected client."""
    with suppress(OSError):
        # Discard queued data: a client that resumes sees a reset and not an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The base class's method: a TLS socket's own must not be called while another thread
        # uses the socket.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
