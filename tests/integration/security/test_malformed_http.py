"""HTTP that is malformed, or asks for what the service does not have, is refused at the door."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest
import requests

from support.contract import schema
from support.door import (
    CHUNK,
    CHUNKED,
    GOOD,
    LONGEST_SECONDS,
    POST,
    TEXT,
    WHOLE,
    Door,
    refused,
    said,
    told,
)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/x-ndjson",
        "application/json-seq",
        "application",
        "json",
        "/",
        ";charset=utf-8",
    ],
)
def test_a_good_request_that_is_not_said_to_be_json_is_refused(door: Door, kind: str) -> None:
    answer = door.function.post(TEXT.encode(), headers={"Content-Type": kind})
    refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/problem+json",
        "application/vnd.example.transfer+json; version=1",
    ],
)
def test_json_may_be_called_by_all_its_names(door: Door, kind: str) -> None:
    answer = door.function.post(b"{", headers={"Content-Type": kind})
    refused(answer, 400, "invalid_json")


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/xml",
        "image/*",
        "image/*;q=0.9, image/png",
        "application/json;q=0",
        "*/*;q=0",
        "nonsense",
        "application/jsonx",
    ],
)
def test_a_good_request_whose_answer_nobody_could_read_is_refused(door: Door, accept: str) -> None:
    answer = door.function.post(TEXT.encode(), headers={"Accept": accept})
    refused(answer, 406, "not_acceptable")


@pytest.mark.parametrize("path", ["/", "/healthz", "/schema/request"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_a_path_does_not_have_is_refused(door: Door, method: str, path: str) -> None:
    body = TEXT.encode() if method != "TRACE" else None
    headers = {"Content-Type": "application/json"}
    answer = requests.request(
        method, door.function.url + path, data=body, headers=headers, timeout=10
    )
    refused(answer, 405, "method_not_allowed")
    allowed = {"GET", "HEAD", "POST"} if path == "/" else {"GET", "HEAD"}
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/healthz", "/schema/request", "/schema/problem"])
def test_a_request_is_not_taken_elsewhere(door: Door, path: str) -> None:
    answer = requests.post(door.function.url + path, json=GOOD, timeout=10)
    refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/schema",
        "/schema/",
        "/schema/nothing",
        "/schema/request.schema.json",
        "/schema/request/more",
        "/schema/..%2Frequest",
        "/schema/%2e%2e/%2e%2e/etc/passwd",
        "/healthz/more",
        "/HEALTHZ",
        "/%00",
        "/%ff",
        "/%F0%9F%8E%89",
        "/" + "x" * 7000,
    ],
    ids=lambda path: path[:30],
)
def test_there_is_nothing_at_any_other_path(door: Door, method: str, path: str) -> None:
    answer = requests.request(
        method,
        door.function.url + path,
        data=TEXT.encode() if method != "GET" else None,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    refused(answer, 404, "not_found")


@pytest.mark.parametrize(
    "content",
    [
        CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"0x5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"5 5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"ffffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\r\n{}xx0\r\n\r\n",
        CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
        CHUNKED + WHOLE,
        CHUNKED + CHUNK + b"zz\r\n",
        CHUNKED + CHUNK + b"5\r\nab",
        CHUNKED + CHUNK,
        CHUNKED + b"0\r\n\r\n",
        CHUNKED,
        CHUNKED + b"1\r\n{\r\n0\r\n\r\n",
    ],
    ids=[
        "no number",
        "less than none",
        "0x",
        "no length",
        "two numbers",
        "endless",
        "no end of a chunk",
        "longer than it says",
        "not chunked at all",
        "garbage after a whole request",
        "cut off after a whole request",
        "a whole request without an end",
        "nothing",
        "not even nothing",
        "well chunked, and no JSON",
    ],
)
def test_a_body_in_bad_chunks_is_refused(door: Door, content: bytes) -> None:
    told(said(door.function, content), 400, "invalid_json")


@pytest.mark.parametrize(
    ("length", "sent"),
    [
        (len(WHOLE), WHOLE[:-1]),
        (len(WHOLE), WHOLE[:100]),
        (len(WHOLE), b""),
        (len(WHOLE) + 1, WHOLE),
        (len(WHOLE) + 100_000, WHOLE),
        (10**18, WHOLE),
    ],
    ids=["one byte", "most", "all", "one byte more was promised", "many were", "no end of them"],
)
def test_a_body_that_breaks_off_is_refused_even_where_it_is_a_whole_request(
    door: Door, length: int, sent: bytes
) -> None:
    content = POST + b"Content-Length: %d\r\n\r\n" % length + sent
    told(said(door.function, content), 400, "invalid_json")


def test_a_body_that_is_longer_than_it_says_is_cut_and_refused(door: Door) -> None:
    content = POST + b"Content-Length: %d\r\n\r\n" % (len(WHOLE) - 1) + WHOLE
    told(said(door.function, content, hang_up=False), 400, "invalid_json")


def test_a_request_without_a_body_or_its_type_is_refused(door: Door) -> None:
    told(said(door.function, POST + b"\r\n"), 400, "invalid_json")
    no_type = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE
    told(said(door.function, no_type), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path", [b"/schema/../../../etc/passwd", b"/.", b"/..", b"/%2e%2e/", b"/a//b", b"/?x=/../y/z/"]
)
def test_a_path_is_not_followed_anywhere(door: Door, path: bytes) -> None:
    answer = said(door.function, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    if path.startswith(b"/?"):  # a query is no part of the path
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    else:
        told(answer, 404, "not_found")


@pytest.mark.parametrize(
    "content",
    [
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"post / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/9.9\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: many\r\n\r\n" + WHOLE,
        POST + b"Content-Length: -1\r\n\r\n" + WHOLE,
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + WHOLE,
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n" + WHOLE,
        POST + b"Content-Length : 5\r\n\r\n" + WHOLE,
        POST + b"X-Surplus: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=[
        "nothing",
        "garbage",
        "TLS",
        "a method in small letters",
        "another HTTP",
        "a length in words",
        "less than nothing",
        "two lengths",
        "a length and chunks",
        "an encoding that is none",
        "a space in a header",
        "an endless header",
    ],
)
def test_what_is_no_http_is_refused_by_the_server_before_us(door: Door, content: bytes) -> None:
    # gunicorn answers these by itself, so there is no problem document.
    answer = said(door.function, content, hang_up=False)
    assert 400 <= answer.status < 500
    assert answer.seconds < LONGEST_SECONDS


@pytest.mark.parametrize(
    ("kind", "status"), [(b"text/plain", 415), (b"application/json", 400)], ids=["unread", "read"]
)
def test_a_refused_body_is_not_taken_for_the_next_request(
    door: Door, kind: bytes, status: int
) -> None:
    inner = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    inner += b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind
    first += b"\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner
    address = urlsplit(door.function.url)
    with socket.create_connection((str(address.hostname), address.port or 0), 10) as connection:
        connection.sendall(first)
        refusal = http.client.HTTPResponse(connection)
        refusal.begin()
        assert refusal.status == status
        refusal.read()
        connection.sendall(b"GET /schema/event HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        then = http.client.HTTPResponse(connection)
        then.begin()
        assert json.loads(then.read()) == schema("event")
