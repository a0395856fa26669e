"""Detects a disconnected client and a stopping server, so that a transfer can end early."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from efss_transfer.model.result import State

_CLOSED: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def interruption_check(environ: Mapping[str, Any]) -> Callable[[], State | None]:
    """A function that returns the state in which to end a transfer now, or None to continue."""
    connection = client_connection(environ)

    def interrupted() -> State | None:
        if connection is not None and is_disconnected(connection):
            return State.CANCELLED
        # `incomplete`, because the same request can resume the transfer.
        return State.INCOMPLETE if _server_is_stopping() else None

    return interrupted


def client_connection(environ: Mapping[str, Any]) -> socket.socket | None:
    """The socket of a request's client; None if the server does not pass it, as some runtimes."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def is_disconnected(connection: socket.socket) -> bool:
    """Whether the client has closed the connection, or this side has reset it.

    A client that closes only its sending half looks the same and counts as disconnected. Data that
    it sent before, such as a line ending or its next request, does not hide that.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
        events = poll.poll(0)
        if not events:
            return False
        if events[0][1] & _CLOSED:
            # Take a pending error from the socket: gunicorn would log it with a traceback.
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return True
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ValueError:
        return connection.fileno() < 0  # a TLS socket cannot be peeked; a closed one has no fd
    except OSError:
        return True


def _server_is_stopping() -> bool:
    """Whether gunicorn's worker has been told to stop.

    Only the main thread may handle signals, and that is gunicorn's. But its signal handler is a
    method of its worker, whose attribute `alive` says whether it continues.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False
