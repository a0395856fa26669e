"""HTTP/1.1 on one connection over a unix socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from efss_transfer.engines.rclone.rc.unix_connection import UnixConnection
from efss_transfer.engines.rclone.rc.unix_http import (
    FILE,
    ConnectionLost,
    InvalidResponse,
    ResponseTimeout,
    UnixHttpClient,
)

Serve = Callable[[bytes], list[bytes]]
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def serve(short: Path) -> Iterator[Serve]:
    """Let a server answer each request alike, byte by byte; returns what it receives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(short / "rc"))
        listener.listen(8)

        def begin(response: bytes) -> list[bytes]:
            received: list[bytes] = []

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        received.append(b"")
                        with connection:
                            while data := connection.recv(1 << 16):
                                received[-1] += data
                                if received[-1].endswith((b"}", b"--\r\n")):
                                    for at in range(len(response)):
                                        connection.send(response[at : at + 1])
                                    if b"Length" not in response and b"chunked" not in response:
                                        break

            threading.Thread(target=accept, daemon=True).start()
            return received

        yield begin
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def client(short: Path) -> Iterator[UnixHttpClient]:
    client = UnixHttpClient(short / "rc")
    yield client
    client.close()


@pytest.mark.parametrize(
    "response",
    [
        HEAD + b'X-Rclone-Jobid: 7\r\nContent-Length: 9\r\n\r\n{"a": 12}',
        CHUNKED + b'3\r\n{"a\r\n6;x=y\r\n": 12}\r\n0\r\nTrailer: 1\r\n\r\n',
        HEAD + b'Connection: close\r\n\r\n{"a": 12}',
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b'Content-Length: 9\r\n\r\n{"a": 12}',
    ],
    ids=["length", "chunks", "end", "interim"],
)
def test_body_of_any_framing_is_read_whole(
    response: bytes, serve: Serve, client: UnixHttpClient
) -> None:
    serve(response)
    for _ in range(2):
        assert client.post("rc/noop", {}, 20).body == {"a": 12}


def test_calls_one_after_another_share_a_connection(serve: Serve, client: UnixHttpClient) -> None:
    received = serve(HEAD + b"Content-Length: 2\r\n\r\n{}")
    began = time.monotonic()
    for _ in range(3):
        assert client.post("rc/noop", {}, 20).body == {}
    assert time.monotonic() - began < 15  # nothing waits for a timeout
    assert len(received) == 1


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (HEAD + b"Content-Length: 9, 8\r\n\r\n{}", InvalidResponse),
        (HEAD + b"Content-Length: 2\r\n\r\n[]", InvalidResponse),
        (HEAD + b"Content-Length: 2\r\n\r\n{x", InvalidResponse),
        (CHUNKED + b"zz\r\n", InvalidResponse),
        (b"SSH-2.0-OpenSSH\r\n\r\n", InvalidResponse),
        (HEAD, ConnectionLost),
        (CHUNKED + b"5\r\n{", ResponseTimeout),
    ],
    ids=["lengths", "list", "no-json", "chunk", "no-http", "cut-off", "silent"],
)
def test_response_that_is_wrong_is_an_error(
    response: bytes, error: type[Exception], serve: Serve, client: UnixHttpClient
) -> None:
    serve(response)
    with pytest.raises(error):
        client.post("rc/noop", {}, 0.5)


def test_body_that_breaks_off_is_never_a_whole_one(short: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(short / "rc"))
        listener.listen(1)
        connection = UnixConnection(str(short / "rc"), 20)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(HEAD + b"Content-Length: 3\r\n\r\n{}")
        head = connection.ask(b"")
        with pytest.raises(ConnectionError):
            list(connection.body(head))
        assert not connection.is_reusable
        connection.close()


def test_file_is_sent_as_a_form(serve: Serve, client: UnixHttpClient) -> None:
    received = serve(HEAD + b"Content-Length: 2\r\n\r\n{}")
    client.post("operations/uploadfile", {"fs": "a b:", FILE: ('x"y', b"content{}")}, 2)
    head, _, body = received[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /operations/uploadfile?fs=a+b%3A HTTP/1.1\r\n")
    assert b'filename="x%22y"' in body
    assert b"\r\n\r\ncontent{}\r\n--" in body
