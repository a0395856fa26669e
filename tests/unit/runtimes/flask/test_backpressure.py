"""Stalled connections are closed, and socket options restored afterwards."""

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


def watchers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "delivery"}


def seconds_until_aborted(served: socket.socket) -> float:
    """How long a sending thread, like one of gunicorn, blocks before the connection is reset."""
    began = time.monotonic()
    with pytest.raises(BrokenPipeError):
        served.sendall(bytes(64 << 20))
    return time.monotonic() - began


def test_socket_options_are_set_and_then_restored() -> None:
    served, client = pair()
    with served, client:
        before = [served.getsockopt(*option) for option in OPTIONS]
        delivery = backpressure.DeliveryWatch({"gunicorn.socket": served})
        assert [served.getsockopt(*option) for option in OPTIONS] == [1, 1, 1, 3, 16384]
        delivery.end()
        delivery.end()
        assert [served.getsockopt(*option) for option in OPTIONS] == before


def test_without_a_socket_no_thread_is_started() -> None:
    before = watchers()
    backpressure.DeliveryWatch({}).end()
    assert watchers() <= before  # those of other tests may end meanwhile


@pytest.mark.parametrize("connected", [pair, unix_pair])
def test_client_that_does_not_read_is_disconnected(
    connected: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    served, client = connected()
    with served, client:
        delivery = backpressure.DeliveryWatch({"gunicorn.socket": served})
        assert 3.5 < seconds_until_aborted(served) < 8
        delivery.end()


@pytest.mark.parametrize("connected", [pair, unix_pair])
def test_thread_ends_when_the_connection_is_closed(
    connected: Callable[[], tuple[socket.socket, socket.socket]],
) -> None:
    before = watchers()
    served, client = connected()
    with client:
        delivery = backpressure.DeliveryWatch({"werkzeug.socket": served})
        served.close()
        until = time.monotonic() + 2
        while watchers() - before:
            assert time.monotonic() < until
            time.sleep(0.01)
        delivery.end()


def test_without_acknowledged_bytes_the_queue_length_shows_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """gVisor, for example, reports 0 acknowledged bytes."""
    monkeypatch.setattr(backpressure, "_ACKED_OFFSET", 4000)
    served, client = pair()
    with served, client:
        served.sendall(b"x")
        queued, mark = backpressure._progress(served)
        assert queued == mark
