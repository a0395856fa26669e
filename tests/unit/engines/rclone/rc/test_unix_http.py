"""HTTP over the unix socket of a busy server."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.unix_http import (
    ConnectionLost,
    ResponseTimeout,
    UnixHttpClient,
)
from efss_transfer.model.errors import EngineError


@pytest.fixture
def listener(short: Path) -> Iterator[socket.socket]:
    """A socket with a backlog of one, whose connections nothing accepts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(short / "rc"))
        listening.listen(1)
        yield listening


@pytest.fixture
def client(short: Path) -> Iterator[UnixHttpClient]:
    client = UnixHttpClient(short / "rc")
    yield client
    client.close()


def serve(listener: socket.socket) -> None:
    """Answer one call on each connection, one connection at a time."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            received = b""
            while b"\r\n\r\n{" not in received:
                received += connection.recv(65536)
            body = json.dumps({"answered": True}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)


@pytest.mark.parametrize("timeout", [20.0, None])
def test_call_that_waits_for_the_backlog_is_answered(
    listener: socket.socket, client: UnixHttpClient, timeout: float | None
) -> None:
    # The calls of the transfer and of sixteen files at a time, on a busy machine: a full backlog
    # was reported as an rclone that had ended.
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(client.post, "rc/noop", {"n": n}, timeout) for n in range(20)]
        time.sleep(0.3)  # all calls wait by now, most of them for room in the backlog
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        assert [call.result(20).body for call in calls] == [{"answered": True}] * 20
    listener.shutdown(socket.SHUT_RDWR)
    server.join(5)


def test_call_that_is_never_accepted_raises_after_its_timeout(
    listener: socket.socket, client: UnixHttpClient, short: Path
) -> None:
    with ExitStack() as others:
        while True:
            other = others.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            other.setblocking(False)
            try:
                other.connect(str(short / "rc"))
            except BlockingIOError:
                break  # the backlog is full
        began = time.monotonic()
        with pytest.raises(ResponseTimeout):
            client.post("rc/noop", {}, 0.3)
        assert 0.3 <= time.monotonic() - began < 5


def test_call_without_a_server_raises_at_once(
    listener: socket.socket, client: UnixHttpClient
) -> None:
    listener.close()
    with pytest.raises(ConnectionLost):
        client.post("rc/noop", {}, 20)


def test_call_does_not_reuse_the_connection_of_a_file(
    listener: socket.socket, client: UnixHttpClient
) -> None:
    """If a storage ignores the range, rclone breaks the connection off after the range was sent:
    the next call on it failed as if rclone had ended.
    """

    def serve_files_and_calls() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(65536)
                if request.startswith(b"GET"):
                    # As Go's server does.
                    close = b"Connection: close\r\n" if b"Connection: close" in request else b""
                    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n"
                    connection.sendall(head + close + b"\r\npart")
                    connection.recv(65536)  # a further request is not answered
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = threading.Thread(target=serve_files_and_calls, daemon=True)
    server.start()
    assert client.get("[x:]/file", {"Range": "bytes=0-3"}, 4, 20, 20).content == b"part"
    assert client.post("rc/noop", {}, 20).body == {}
    server.join(20)


@pytest.mark.parametrize(
    ("reads_log", "seconds", "is_answered"),
    [(True, 60, True), (False, 60, False), (True, 0, False)],
)
def test_rclone_whose_log_is_being_read_may_answer_late(
    reads_log: bool, seconds: float, is_answered: bool, listener: socket.socket, short: Path
) -> None:
    """It waits until its log is read, which takes seconds where names are very long."""
    lines = itertools.count()

    def silent_at_first() -> None:
        with suppress(OSError), listener.accept()[0]:
            serve(listener)

    server = threading.Thread(target=silent_at_first, daemon=True)
    server.start()
    with RcClient(short / "rc", 0.5) as rc:
        rc.log_lines = lambda: next(lines) if reads_log else 0
        rc.log_lines_until = time.monotonic() + seconds
        if is_answered:
            assert rc.version() == ""
        else:
            with pytest.raises(EngineError, match="did not respond"):
                rc.version()
    listener.shutdown(socket.SHUT_RDWR)
    server.join(5)
