"""`deploy/nginx.conf` in front of a function that is away, dies, or answers too late."""

from __future__ import annotations

import gzip
import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import http_servers
from support.nginx import gateway, request
from support.nginx_cases import AS_PORTAL, assert_problem
from support.storages import serving


class _Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def stand_in(
    path: Path, answer: Callable[[http.server.BaseHTTPRequestHandler], None]
) -> Iterator[None]:
    """Something in the function's place that answers as it is told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return "nginx"

        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with (
        _Unix(str(path), Handler) as server,
        serving(server.serve_forever, server.shutdown),
    ):
        yield


def test_of_a_request_only_what_the_function_reads_goes_on(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        seen.append({name.lower(): value for name, value in handler.headers.items()})
        http_servers.reply(handler, 200, b"{}", "application/json")

    with stand_in(tmp_path / "http", answer), gateway(tmp_path / "n", tmp_path / "http") as front:
        front.ask(
            "POST",
            "/",
            b"{}",
            {
                "X-Forwarded-For": "127.0.0.1",
                "X-Forwarded-Proto": "http",
                "X-Forwarded-Host": "evil.example",
                "Forwarded": "for=127.0.0.1",
                "X-Real-IP": "127.0.0.1",
                "Connection": "close, X-Mine",
                "X-Mine": "1",
                "TE": "trailers",
                "Upgrade": "websocket",
                "Proxy-Authorization": "Basic eDp5",
                "Cookie": "a=b",
                "PATH_INFO": "/metrics",
                "Accept": "application/x-ndjson",
                "Origin": "https://portal.example.org",
                "Authorization": "Bearer abc",
                "User-Agent": "test",
                "traceparent": "nonsense",
                "X-Request-Id": "evil",
            },
        )
    [headers] = seen
    number = headers["x-request-id"]
    assert headers == {
        "host": "transfer.example.org",
        "connection": "close",
        "content-type": "application/json",
        "content-length": "2",
        "accept": "application/x-ndjson",
        "authorization": "Bearer abc",
        "origin": "https://portal.example.org",
        "user-agent": "test",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-request-id": number,
        "traceparent": f"00-{number}-{number[:16]}-00",
    }


@pytest.mark.slow
def test_answers_are_neither_squeezed_nor_changed(tmp_path: Path) -> None:
    content = json.dumps({"a": "b" * 5000}).encode()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        http_servers.reply(handler, 502, content, "application/problem+json")

    with stand_in(tmp_path / "http", answer), gateway(tmp_path / "n", tmp_path / "http") as front:
        told = front.ask("GET", "/", headers={"Accept-Encoding": "gzip"})
    # A problem of the function's own is not replaced by one of the gateway's.
    assert (told.status, told.body) == (502, content)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(told.body)


def test_a_function_that_is_away_is_busy(tmp_path: Path) -> None:
    with gateway(tmp_path / "n", tmp_path / "nothing") as front:
        answer = front.ask("POST", "/", b"{}", AS_PORTAL)
    assert_problem(answer, "busy")
    assert answer.headers["retry-after"] == "5"


@pytest.mark.slow
def test_a_function_that_dies_is_busy(tmp_path: Path) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    with stand_in(tmp_path / "http", answer), gateway(tmp_path / "n", tmp_path / "http") as front:
        assert_problem(front.ask("POST", "/", b"{}", AS_PORTAL), "busy")


def test_a_function_that_does_not_answer_in_time_is_incomplete(tmp_path: Path) -> None:
    done = threading.Event()

    def answer(_: http.server.BaseHTTPRequestHandler) -> None:
        done.wait(60)

    short = {"proxy_read_timeout 7260s": "proxy_read_timeout 1s"}
    with (
        stand_in(tmp_path / "http", answer),
        gateway(tmp_path / "n", tmp_path / "http", short) as front,
    ):
        told = front.ask("POST", "/", b"{}", AS_PORTAL)
        done.set()
    assert_problem(told, "incomplete")
    assert told.headers["retry-after"] == "0"


def test_a_stream_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-ndjson")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\n{}\n\r\n")
        handler.close_connection = True

    with (
        stand_in(tmp_path / "http", answer),
        gateway(tmp_path / "n", tmp_path / "http") as front,
        front.connect() as connection,
    ):
        connection.sendall(request("GET", "/", b"", {}))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.endswith(b"3\r\n{}\n\r\n")  # and not by the last chunk, which is empty
