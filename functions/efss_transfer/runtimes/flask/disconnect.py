"""Whether somebody still waits for the answer, and whether we may go on working on it."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from efss_transfer.model.result import State


def watch(environ: Mapping[str, Any]) -> Callable[[], State | None]:
    """What tells, while a transfer runs, that it must end: nobody waits, or we must stop."""
    connection = connection_of(environ)

    def interrupted() -> State | None:
        if connection is not None and hung_up(connection):
            return State.CANCELLED
        # The same request again goes on where this one stopped: that is `incomplete`.
        return State.INCOMPLETE if _server_stops() else None

    return interrupted


def connection_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """The connection of a request, where the server tells it: a FaaS runtime may have none."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def hung_up(connection: socket.socket) -> bool:
    """Whether the peer has closed its end, or the connection was given up.

    A client that closes only its sending half looks the same, and is taken to be gone.
    """
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
        if not poll.poll(0):
            return False
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ValueError:
        return connection.fileno() < 0  # TLS cannot be peeked into; closed it has no number
    except OSError:
        return True


def _server_stops() -> bool:
    """Whether gunicorn's worker was told to stop.

    Only a main thread may handle signals, and that is gunicorn's; but the handler it has
    set is a method of its worker, which knows whether it is to live on.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False
