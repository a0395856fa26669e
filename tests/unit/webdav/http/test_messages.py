from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.messages import BadMessage, Body, Length, RequestHead, ResponseHead
from efss_transfer.webdav.http.streams import Broken, ByteStream, TooLong

Found = TypeVar("Found")


def given(data: bytes, read: Callable[[ByteStream], Awaitable[Found]]) -> Found:
    """What is read from a connection on which these bytes arrive, and then its end."""

    async def run() -> Found:
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        with there:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(there, data))
            sending.add_done_callback(lambda _: there.shutdown(socket.SHUT_WR))
            stream = ByteStream(here)
            try:
                return await asyncio.wait_for(read(stream), 10)
            finally:
                await sending
                stream.close()

    return asyncio.run(run())


def body(data: bytes, length: Length, limit: int = 1 << 20) -> bytes:
    return given(data, lambda stream: Body(stream, length).whole(limit))


def response(data: bytes) -> ResponseHead:
    return given(data, messages.read_response)


def request_head(data: bytes) -> RequestHead | None:
    return given(data, messages.read_request)


def test_request_is_read() -> None:
    head = request_head(
        b"PROPFIND /a%20b?c HTTP/1.1\r\nHost: x\r\nDepth: 1\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert head is not None
    assert (head.method, head.target, head.length) == ("PROPFIND", "/a%20b?c", 3)
    assert head.headers["depth"] == "1"
    assert head.keep_alive


def test_end_of_the_connection_is_no_request() -> None:
    assert request_head(b"") is None


def test_response_is_read() -> None:
    head = response(b"HTTP/1.1 207 Multi-Status\r\nDAV: 1\r\nDAV: 3\r\nContent-Length: 0\r\n\r\n")
    assert (head.status, head.reason, head.headers["dav"]) == (207, "Multi-Status", "1, 3")
    assert head.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_connection_that_the_server_ends_is_not_kept(data: bytes) -> None:
    assert not response(data).keep_alive


@pytest.mark.parametrize(
    ("method", "head", "length"),
    [
        ("GET", b"200 OK\r\nContent-Length: 7", 7),
        ("HEAD", b"200 OK\r\nContent-Length: 7", 0),
        ("GET", b"204 No Content", 0),
        ("GET", b"304 Not Modified\r\nContent-Length: 7", 0),
        ("GET", b"200 OK\r\nTransfer-Encoding: Chunked", "chunked"),
        ("GET", b"200 OK", "close"),
    ],
)
def test_length_depends_on_question_and_answer(method: str, head: bytes, length: Length) -> None:
    assert response(b"HTTP/1.1 " + head + b"\r\n\r\n").length(method) == length


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_head_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        response(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nA"])
def test_connection_that_ends_before_an_answer_is_broken(data: bytes) -> None:
    with pytest.raises(Broken):
        response(data)


def test_header_cannot_smuggle_another() -> None:
    with pytest.raises(BadMessage):
        messages.request_head("GET", "/", {"Depth": "1\r\nAuthorization: x"})


def test_body_of_known_length_ends_there() -> None:
    assert body(b"12345next", 5) == b"12345"


def test_body_until_the_end_of_the_connection_is_whole() -> None:
    assert body(b"x" * 1_000_000, "close") == b"x" * 1_000_000


def test_chunks_are_put_together() -> None:
    data = b"5\r\n12345\r\nA;ext=1\r\n" + b"y" * 10 + b"\r\n0\r\nTrailer: x\r\n\r\nnext"
    assert body(data, "chunked") == b"12345" + b"y" * 10


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"1234", 5),
        (b"5\r\n1234", "chunked"),
        (b"5\r\n12345\r\n", "chunked"),
        (b"5\r\n12345\r\n0\r\n", "chunked"),
        (b"", "chunked"),
    ],
)
def test_body_that_is_cut_off_is_broken(data: bytes, length: Length) -> None:
    with pytest.raises(Broken):
        body(data, length)


@pytest.mark.parametrize("data", [b"xyz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5" * 9000])
def test_chunk_without_a_size_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        body(data, "chunked")


def test_body_beyond_its_limit_is_refused() -> None:
    for length in (2_000, "close"):
        with pytest.raises(TooLong):
            body(b"x" * 2_000, length, limit=1_000)
