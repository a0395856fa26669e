"""Clients that send slowly, or nothing: they hold none of the server's threads, and are ended."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from support import service_process
from support.service_process import Function

pytestmark = pytest.mark.field_case("K12")

THREADS: Final = 16
HEADER_SECONDS: Final = 10
ANSWER_SECONDS: Final = 8
"""How long others may wait at most for an answer."""

WHOLE: Final = b"GET /schema/event HTTP/1.1\r\nHost: x\r\n"
HALVES: Final = {
    "nothing": b"",
    "half of a method": b"PO",
    "half of a line": b"POST / HT",
    "half of a header": WHOLE + b"Author",
    "no last line": WHOLE + b"Authorization: Bearer x\r\n",
    "something else": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a request and a half": WHOLE + b"\r\n" + WHOLE,
    "many fields": WHOLE + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 900) for n in range(20)),
    "a header without end": WHOLE + b"X-Long: " + b"x" * 40_000,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A service with few threads."""
    runtime = tmp_path_factory.mktemp("small")
    with service_process.function(runtime, THREADS=str(THREADS)) as running:
        yield running


@contextmanager
def connected(function: Function, begin: bytes) -> Iterator[list[socket.socket]]:
    """Two connections for each of the server's threads, which have sent the same."""
    address = urlsplit(function.url)
    with ExitStack() as opened:
        connections = []
        for _ in range(2 * THREADS):
            connection = socket.create_connection((str(address.hostname), address.port or 0), 10)
            connections.append(opened.enter_context(connection))
            connection.sendall(begin)
        yield connections


def seconds_for_others(function: Function) -> float:
    began = time.monotonic()
    for path in ("/healthz", "/schema/event"):
        assert function.get(path).status_code == 200
    assert function.post({}).status_code == 400
    return time.monotonic() - began


@pytest.mark.parametrize("begin", HALVES.values(), ids=HALVES)
def test_others_are_answered_beside_clients_that_have_not_sent_a_header(
    begin: bytes, small: Function
) -> None:
    with connected(small, begin):
        assert seconds_for_others(small) < ANSWER_SECONDS


def test_others_are_answered_beside_clients_that_send_a_byte_now_and_then(
    small: Function,
) -> None:
    ended = threading.Event()
    with connected(small, WHOLE) as connections:

        def drip() -> None:
            while not ended.wait(0.1):
                for connection in connections:
                    connection.send(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for _ in range(3):
                assert seconds_for_others(small) < ANSWER_SECONDS
        finally:
            ended.set()
            dripping.join()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_others_are_answered_beside_clients_that_do_not_close_an_ended_connection(
    version: bytes, small: Function
) -> None:
    request = b"GET /schema/event HTTP/%s\r\nHost: x\r\nConnection: close\r\n\r\n" % version
    with connected(small, request) as connections:
        for connection in connections:
            connection.recv(1, socket.MSG_PEEK)  # it is answered
        assert seconds_for_others(small) < ANSWER_SECONDS


def test_half_requests_on_kept_connections_hold_no_thread(small: Function) -> None:
    with connected(small, WHOLE + b"\r\n") as connections:
        for connection in connections:
            connection.recv(1, socket.MSG_PEEK)
            connection.sendall(WHOLE)
        assert seconds_for_others(small) < ANSWER_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize(
    "begin", ["nothing", "half of a header", "something else", "a request and a half"]
)
def test_slow_clients_are_ended_after_ten_seconds(begin: str, small: Function) -> None:
    with connected(small, HALVES[begin]) as connections:
        began = time.monotonic()
        answers = []
        for connection in connections:
            connection.settimeout(HEADER_SECONDS + 10)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
            answers.append(answer)
        assert HEADER_SECONDS - 1 < time.monotonic() - began < HEADER_SECONDS + 8
    assert all((b" 408 " in answer) == (begin != "nothing") for answer in answers)
    assert seconds_for_others(small) < ANSWER_SECONDS


def test_header_that_arrives_in_parts_in_time_is_served(small: Function) -> None:
    address = urlsplit(small.url)
    with socket.create_connection((str(address.hostname), address.port or 0), 10) as connection:
        for byte in WHOLE + b"\r\n":
            connection.sendall(bytes([byte]))
        assert b" 200 OK" in connection.recv(1 << 16)


@pytest.mark.parametrize(("threads", "warns"), [("1", True), ("2", False)])
def test_server_with_one_thread_warns_at_its_start(
    threads: str, tmp_path: Path, *, warns: bool
) -> None:
    (tmp_path / "runtime").mkdir()
    with service_process.function(tmp_path / "runtime", THREADS=threads) as running:
        assert ("slow clients can stop it" in running.log.read_text()) is warns
