"""The simulated slow network of the tests and the benchmark."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from support import slow_network

MIB = 1 << 20


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that runs a function for every connection, each in its own thread."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:

        def one(connection: socket.socket) -> None:
            with connection:
                answer(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), 60)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def echo(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def test_round_trip_is_delayed_and_a_connection_by_one_more() -> None:
    with served(echo) as url, slow_network.distant(url, 0.1) as far, connected(far) as connection:
        took = []
        for _ in range(4):
            began = time.monotonic()
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            took.append(time.monotonic() - began)
    assert 0.2 <= took[0] < 5
    assert 0.1 <= min(took[1:]) < 2


@pytest.mark.parametrize("seconds", [0.0, 0.02], ids=["near", "far"])
def test_bytes_arrive_unchanged_in_both_directions(seconds: float) -> None:
    """20 MB in each direction, concurrently."""
    content = os.urandom(20_000_000)
    with (
        served(echo) as url,
        slow_network.distant(url, seconds) as far,
        connected(far) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        reading = pool.submit(read_all, connection)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        assert reading.result(60) == content


def test_data_sent_after_a_half_close_arrives() -> None:
    def answer(connection: socket.socket) -> None:
        asked = read_all(connection)
        time.sleep(0.2)
        connection.sendall(asked * 1000)

    with (
        served(answer) as url,
        slow_network.distant(url, 0.02) as far,
        connected(far) as connection,
    ):
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"question" * 1000


def test_whole_response_arrives_although_the_server_closes_at_once() -> None:
    """At a rate at which most of it is still in transit then."""
    content = os.urandom(300_000)
    with (
        served(lambda connection: connection.sendall(content)) as url,
        slow_network.distant(url, 0.1, 1_000_000) as far,
        connected(far) as connection,
    ):
        assert read_all(connection) == content


def test_each_connection_is_limited_to_its_rate() -> None:
    """Eight times 800 KB at 1 MB/s, concurrently: no faster, and not one after the other."""
    content = bytes(800_000)
    with (
        served(lambda connection: connection.sendall(content)) as url,
        slow_network.distant(url, 0.0, 1_000_000) as far,
        ThreadPoolExecutor(8) as pool,
    ):

        def read() -> bytes:
            with connected(far) as connection:
                return read_all(connection)

        began = time.monotonic()
        readings = [pool.submit(read) for _ in range(8)]
        assert all(reading.result(60) == content for reading in readings)
        took = time.monotonic() - began
    assert 0.75 < took < 5


def test_many_connections_leave_none_open() -> None:
    with served(echo) as url, slow_network.distant(url, 0.02) as far:
        (proxy,) = [
            child
            for child in psutil.Process().children()
            if str(slow_network.__file__) in child.cmdline()
        ]
        before = proxy.num_fds()

        def ask(number: int) -> bytes:
            with connected(far) as connection:
                connection.sendall(f"{number}".encode() * 100)
                connection.shutdown(socket.SHUT_WR)
                return read_all(connection)

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(ask, range(300)))
        assert answers == [f"{number}".encode() * 100 for number in range(300)]
        until = time.monotonic() + 10
        while proxy.num_fds() > before:
            assert time.monotonic() < until, "connections are kept"
            time.sleep(0.05)


def test_reader_that_stops_blocks_the_sender() -> None:
    """Only the proxy's window and the kernel's buffers hold unread data."""
    sent = [0]
    blocked = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.settimeout(1)
        try:
            while sent[0] < 500 * MIB:
                sent[0] += connection.send(bytes(MIB))
        except TimeoutError:
            blocked.set()

    with served(answer) as url, slow_network.distant(url, 0.02) as far, connected(far):
        assert blocked.wait(30)
        assert sent[0] < 100 * MIB


def test_reset_connection_is_passed_on_as_a_reset() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        served(answer) as url,
        slow_network.distant(url, 0.02) as far,
        connected(far) as connection,
    ):
        connection.sendall(b"xy")
        with pytest.raises(ConnectionResetError):
            read_all(connection)
