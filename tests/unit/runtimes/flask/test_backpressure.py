"""What is done to a connection while something is sent over it, and that it is undone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from efss_transfer.runtimes.flask import backpressure

TCP = socket.IPPROTO_TCP
OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (TCP, socket.TCP_KEEPIDLE),
    (TCP, socket.TCP_KEEPINTVL),
    (TCP, socket.TCP_KEEPCNT),
    (TCP, socket.TCP_NOTSENT_LOWAT),
]


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return listener.accept()[0], client


def unix_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX)


def watchers() -> int:
    return sum(thread.name == "delivery" for thread in threading.enumerate())


def sent_until_given_up(served: socket.socket) -> float:
    """How long a thread that sends as gunicorn's does is kept waiting at most."""
    began = time.monotonic()
    with pytest.raises(BrokenPipeError):
        served.sendall(bytes(64 << 20))
    return time.monotonic() - began


def test_the_options_are_set_while_it_is_sent_and_no_longer() -> None:
    served, client = pair()
    with served, client:
        before = [served.getsockopt(*option) for option in OPTIONS]
        watched = backpressure.DeliveryWatch({"gunicorn.socket": served})
        assert [served.getsockopt(*option) for option in OPTIONS] == [1, 1, 1, 3, 16384]
        watched.end()
        watched.end()
        assert [served.getsockopt(*option) for option in OPTIONS] == before


def test_where_no_connection_is_told_there_is_nothing_to_watch() -> None:
    before = watchers()
    backpressure.DeliveryWatch({}).end()
    assert watchers() == before


@pytest.mark.parametrize("connected", [pair, unix_pair])
def test_nobody_reads_and_so_the_sender_is_let_go(
    connected: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    served, client = connected()
    with served, client:
        watched = backpressure.DeliveryWatch({"gunicorn.socket": served})
        assert 3.5 < sent_until_given_up(served) < 5
        watched.end()


@pytest.mark.parametrize("connected", [pair, unix_pair])
def test_a_connection_that_was_closed_is_watched_no_longer(
    connected: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    before = watchers()
    served, client = connected()
    with client:
        watched = backpressure.DeliveryWatch({"werkzeug.socket": served})
        served.close()
        until = time.monotonic() + 2
        while watchers() > before:
            assert time.monotonic() < until
            time.sleep(0.01)
        watched.end()


def test_a_system_that_does_not_count_what_is_acknowledged_is_not_misjudged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """gVisor, for one, says 0: then all counts that moves."""
    monkeypatch.setattr(backpressure, "_ACKED", 4000)
    served, client = pair()
    with served, client:
        served.sendall(b"x")
        waiting, mark = backpressure._delivered(served)
        assert waiting == mark
