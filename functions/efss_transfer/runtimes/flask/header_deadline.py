"""Gives a request one of the server's threads only once its header has arrived.

gunicorn reads headers in its threads and without a time limit, so that as many slow clients as it
has threads would stop it, before any of them is authenticated. It also waits up to two seconds, in
the thread that accepts connections, for each client that does not close an ended connection. Here
both wait in an epoll, with a deadline.
"""

from __future__ import annotations

import logging
import select
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from gunicorn import util
from gunicorn.workers import gthread

from efss_transfer.config.platforms import server_threads

HEADER_SECONDS: Final = 10.0
"""How long a header may take; the same as in deploy/nginx.conf."""
_LINGER_SECONDS: Final = 2.0
_LONGEST_HEADER: Final = 1 << 15
_PIECE: Final = 1 << 16
_EVENTS: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_END: Final = b"\r\n\r\n"
_OVERRIDDEN: Final = ("run", "enqueue_req", "finish_request", "murder_pending")

_LOG: Final = logging.getLogger("efss_transfer")


def install(environment: Mapping[str, str]) -> None:
    """Let gunicorn use `Worker`, or warn that nothing here limits slow headers.

    Call it before functions-framework imports gunicorn's worker, which it does to serve.
    """
    has_methods = all(hasattr(gthread.ThreadWorker, name) for name in _OVERRIDDEN)
    if server_threads(environment) > 1 and has_methods:
        gthread.ThreadWorker = Worker
        return
    reason = "this version of gunicorn is not known" if not has_methods else "it has one thread"
    _LOG.warning(
        "The server does not limit how long the header of a request may take, because %s: slow "
        "clients can stop it. Put a gateway in front of it (deploy/nginx.conf), or set THREADS "
        "to 2 or more.",
        reason,
    )


class _Waiting:
    """Connections that wait for bytes, each until a deadline."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._epoll = select.epoll()
        self._entries: dict[int, tuple[float, Any]] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when `ready` has something to return."""
        return self._epoll.fileno()

    def add(self, conn: Any) -> None:
        number = conn.sock.fileno()
        self._entries[number] = (time.monotonic() + self._seconds, conn)
        self._epoll.register(number, _EVENTS)

    def ready(self) -> Iterator[tuple[Any, bool]]:
        """Yield the connections that have new bytes, and whether no more can come."""
        for number, events in self._epoll.poll(0):
            if number in self._entries:
                yield self._entries[number][1], bool(events & ~select.EPOLLIN)

    def remove(self, conn: Any) -> None:
        number = conn.sock.fileno()
        del self._entries[number]
        self._epoll.unregister(number)

    def late(self, *, everything: bool = False) -> list[Any]:
        """Remove and return the connections whose deadline has passed, or all."""
        now = time.monotonic()
        found = [conn for until, conn in self._entries.values() if everything or until <= now]
        for conn in found:
            self.remove(conn)
        return found


class Worker(gthread.ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker of threads. All of its methods run in the thread that accepts."""

    def run(self) -> None:
        """Serve until gunicorn stops the worker."""
        self._arriving = _Waiting(HEADER_SECONDS)
        self._leaving = _Waiting(_LINGER_SECONDS)
        self.poller.register(self._arriving, selectors.EVENT_READ, self._on_arriving)
        self.poller.register(self._leaving, selectors.EVENT_READ, self._on_leaving)
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        """Serve a connection once it has a complete header."""
        if self.cfg.is_ssl or _has_header(conn):
            self._serve(conn)
        else:
            self._arriving.add(conn)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Keep a connection open for another request, or close it."""
        if self.cfg.is_ssl or fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
        else:
            self._leave(conn)

    def murder_pending(self) -> None:
        """Close connections whose time is over. gunicorn calls it at least once a second."""
        super().murder_pending()
        for conn in self._arriving.late(everything=not self.alive):
            self._refuse(conn, 408, "Request Timeout")
        for conn in self._leaving.late():
            self._close(conn)

    def _on_arriving(self, _: object) -> None:
        for conn, has_ended in self._arriving.ready():
            if has_ended or _has_header(conn):
                self._arriving.remove(conn)
                self._serve(conn)
            elif len(_received(conn)) > _LONGEST_HEADER:
                self._arriving.remove(conn)
                self._refuse(conn, 431, "Request Header Fields Too Large")

    def _on_leaving(self, _: object) -> None:
        for conn, has_ended in self._leaving.ready():
            if _discard(conn.sock) or has_ended:
                self._leaving.remove(conn)
                self._close(conn)

    def _serve(self, conn: Any) -> None:
        conn.data_ready = True
        super().enqueue_req(conn)

    def _refuse(self, conn: Any, status: int, reason: str) -> None:
        if _received(conn):
            with suppress(OSError):
                util.write_error(conn.sock, status, reason, "")
        self._leave(conn)

    def _leave(self, conn: Any) -> None:
        """End a connection. A client that still sends would otherwise lose the answer."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self._leaving.add(conn)
        except OSError:
            self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()


def _has_header(conn: Any) -> bool:
    """Whether gunicorn need not wait for the header of the next request."""
    return _END in _received(conn)


def _received(conn: Any) -> bytes:
    """What has arrived of the next request, of which nothing is taken."""
    read_ahead: bytes = conn.parser.unreader.buf.getvalue() if conn.parser is not None else b""
    try:
        waiting: bytes = conn.sock.recv(_PIECE, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:  # nothing has arrived, or the connection is broken, which an event says
        waiting = b""
    return read_ahead + waiting


def _discard(connection: socket.socket) -> bool:
    """Take what a client still sends, and return whether to close the connection now."""
    try:
        return len(connection.recv(_PIECE)) in (0, _PIECE)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
