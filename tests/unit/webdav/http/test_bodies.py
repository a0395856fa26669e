"""Bodies: whole, or an error; with their trailers."""

from __future__ import annotations

import pytest

from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.messages import BadMessage, Length
from efss_transfer.webdav.http.streams import Broken, ByteStream, TooLong
from support.byte_streams import given


def body(data: bytes, length: Length, limit: int = 1 << 20) -> bytes:
    return given(data, lambda stream: Body(stream, length).whole(limit))


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


def trailers(data: bytes) -> bytes:
    async def read(stream: ByteStream) -> bytes:
        found = Body(stream, "chunked")
        await found.whole(1 << 20)
        return found.trailers

    return given(data, read)


def test_trailers_are_kept_as_they_are() -> None:
    assert trailers(b"1\r\nx\r\n0\r\n\r\n") == b""
    lines = b'X-Sum: 1\r\nETag: "a"\r\n'
    assert trailers(b"1\r\nx\r\n0\r\n" + lines + b"\r\n") == lines


@pytest.mark.parametrize(
    "line", [b"no colon\r\n", b": no name\r\n", b"a b: c\r\n", b"a: b\rc: d\r\n", b"a: \x00\r\n"]
)
def test_trailer_that_is_no_field_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        trailers(b"0\r\n" + line + b"\r\n")


def test_trailers_without_end_are_refused() -> None:
    with pytest.raises(BadMessage):
        trailers(b"0\r\n" + b"X-More: and more\r\n" * 2_000)
