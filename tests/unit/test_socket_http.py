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

from efss_transfer.engines.rclone.socket_http import Client, Gone, Silent


@pytest.fixture
def listener(short: Path) -> Iterator[socket.socket]:
    """A socket on which few may wait, and nobody takes them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(short / "rc"))
        listening.listen(1)
        yield listening


@pytest.fixture
def client(short: Path) -> Iterator[Client]:
    made = Client(short / "rc")
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
    listener: socket.socket, client: Client, patience: float | None
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
    listener: socket.socket, client: Client, short: Path
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
        with pytest.raises(Silent):
            client.post("rc/noop", {}, 0.3)
        assert 0.3 <= time.monotonic() - began < 5


def test_where_nobody_listens_nobody_is_waited_for(listener: socket.socket, client: Client) -> None:
    listener.close()
    with pytest.raises(Gone):
        client.post("rc/noop", {}, 20)
