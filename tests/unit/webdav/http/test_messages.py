from __future__ import annotations

import pytest

from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.messages import BadMessage, Length, RequestHead, ResponseHead
from efss_transfer.webdav.http.streams import Broken
from support.byte_streams import given


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
