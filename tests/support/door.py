"""The service's front door with a good request, an rclone that leaves a mark, and raw HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from support.contract import complaints
from support.service_process import Function

LIMIT = 1 << 20


LONGEST_SECONDS = 10.0  # beside other tests; what is quadratic takes minutes


CANARY = "canary-password"


# Nothing listens at these addresses: a request that got through would fail, and be seen.
GOOD: dict[str, Any] = {
    "id": "run-42",
    "engine": "rclone",
    "source": {
        "type": "sftp",
        "parameters": {
            "host": "127.0.0.1",
            "port": 1,
            "user": "alice",
            "pass": CANARY,
            "disable_hashcheck": True,
        },
        "path": "Measurements",
    },
    "destination": {
        "type": "webdav",
        "parameters": {"url": "http://127.0.0.1:1/dav", "vendor": "other", "pass": CANARY},
        "path": "archive/2026",
    },
    "options": {"report": "all"},
}


TEXT = json.dumps(GOOD)


# So that no quote in it is anything but a text's beginning or end.
assert "\\" not in TEXT


assert TEXT.isascii()


@dataclass
class Door:
    """The function, which tells in its log of every rclone that it starts."""

    function: Function

    def starts(self) -> int:
        return self.function.log.read_text().count("rclone was started")


def refused(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that the answer is; it must be this one, in time, and fit its schema."""
    assert response.elapsed.total_seconds() < LONGEST_SECONDS
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert complaints("problem", problem) == []
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["retryable"] is False
    assert CANARY not in response.text
    return problem


def padded(length: int) -> bytes:
    """JSON of that length which is no request."""
    return b'{"surplus": "' + b"x" * (length - 15) + b'"}'


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


WHOLE = TEXT.encode()


CHUNK = b"%x\r\n%s\r\n" % (len(WHOLE), WHOLE)


@dataclass
class Answer:
    """What stands in an HTTP answer, as it was read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


def said(function: Function, content: bytes, *, hang_up: bool = True) -> Answer:
    """The answer to these very bytes, after which the client says no more."""
    address = urlsplit(function.url)
    began = time.monotonic()
    with socket.create_connection((str(address.hostname), address.port or 0), 10) as connection:
        connection.sendall(content)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body, time.monotonic() - began)


def told(answer: Answer, status: int, code: str) -> None:
    """The same as `refused`, of an answer that was read by hand."""
    assert answer.seconds < LONGEST_SECONDS
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert complaints("problem", problem) == []
    assert (problem["code"], problem["status"]) == (code, status)
    assert CANARY not in answer.body.decode()
