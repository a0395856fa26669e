"""HTTP over a unix socket whose owner has much to do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from efss_transfer.engines.rclone.rc.unix_http import ServerGone, ServerSilent, UnixHttpClient


@pytest.fixture
def listener(short: Path) -> Iterator[socket.socket]:
    """A socket on which few may wait, and nobody takes them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(short / "rc"))
        listening.listen(1)
        yield listening


@pytest.fixture
def client(short: Path) -> Iterator[UnixHttpClient]:
    made = UnixHttpClient(short / "rc")
    yield made
    made.close()


def serve(listener: socket.socket) -> None:
    """Answer one call on each connection, one after another."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            heard = b""
            while b"\r\n\r\n{" not in heard:
                heard += connection.recv(65536)
            body = json.dumps({"answered": True}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)


@pytest.mark.parametrize("patience", [20.0, None])
def test_whoever_is_taken_late_is_answered(
    listener: socket.socket, client: UnixHttpClient, patience: float | None
) -> None:
    # rclone's own calls and sixteen files' at a time, on a machine with much to do: a full
    # backlog was told as an rclone that had ended.
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(client.post, "rc/noop", {"n": n}, patience) for n in range(20)]
        time.sleep(0.3)  # all of them wait by now, most of them for room to wait
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        assert [call.result(20).body for call in calls] == [{"answered": True}] * 20
    listener.shutdown(socket.SHUT_RDWR)
    server.join(5)


def test_whoever_is_not_taken_at_all_has_waited_as_long_as_he_has_patience(
    listener: socket.socket, client: UnixHttpClient, short: Path
) -> None:
    with ExitStack() as others:
        while True:
            other = others.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            other.setblocking(False)
            try:
                other.connect(str(short / "rc"))
            except BlockingIOError:
                break  # there is no room any more
        began = time.monotonic()
        with pytest.raises(ServerSilent):
            client.post("rc/noop", {}, 0.3)
        assert 0.3 <= time.monotonic() - began < 5


def test_where_nobody_listens_nobody_is_waited_for(
    listener: socket.socket, client: UnixHttpClient
) -> None:
    listener.close()
    with pytest.raises(ServerGone):
        client.post("rc/noop", {}, 20)


def test_a_call_never_comes_by_a_connection_that_was_read_a_file_from(
    listener: socket.socket, client: UnixHttpClient
) -> None:
    """A storage that ignores the range has rclone break it off, after all that was asked for
    has come: the next call was told that rclone had ended.
    """

    def serve_files_and_calls() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                asked = connection.recv(65536)
                if asked.startswith(b"GET"):
                    # As Go's server does.
                    close = b"Connection: close\r\n" if b"Connection: close" in asked else b""
                    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n"
                    connection.sendall(head + close + b"\r\npart")
                    connection.recv(65536)  # whatever comes now is not answered
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = threading.Thread(target=serve_files_and_calls, daemon=True)
    server.start()
    assert client.get("[x:]/file", {"Range": "bytes=0-3"}, 4, 20, 20).content == b"part"
    assert client.post("rc/noop", {}, 20).body == {}
    server.join(20)
