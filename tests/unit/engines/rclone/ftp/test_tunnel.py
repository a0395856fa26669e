"""Connections through a proxy: SOCKS with a password, and HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from efss_transfer.engines.rclone.ftp import tunnel

LOGIN = b"\x01\x04user\x06secret"
ASKED = b"\x05\x01\x00\x03\x0bexample.org\x00\x15"


class Proxy:
    """Reads and answers as a script of (bytes that must come, answer) says, then greets."""

    def __init__(self, *script: tuple[bytes, bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._script = script
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with closing(self._listener), closing(connection):
            for expected, answer in self._script:
                received = b""
                while expected not in received and (piece := connection.recv(1 << 12)):
                    received += piece
                connection.sendall(answer)
            connection.sendall(b"220 ready\r\n")

    def join(self) -> None:
        self._thread.join(5)


@pytest.fixture
def made() -> Iterator[list[Proxy]]:
    proxies: list[Proxy] = []
    yield proxies
    for one in proxies:
        one.join()


def greeting(parameters: dict[str, str]) -> bytes:
    with closing(tunnel.connect(parameters, "example.org", 21, 5)) as connection:
        return connection.recv(100)


def test_socks_proxy_is_asked_with_the_login(made: list[Proxy]) -> None:
    proxy = Proxy(
        (b"\x05\x01\x02", b"\x05\x02"),
        (LOGIN, b"\x01\x00"),
        (ASKED, b"\x05\x00\x00\x01" + bytes(6)),
    )
    made.append(proxy)
    assert greeting({"socks_proxy": f"user:secret@127.0.0.1:{proxy.port}"}) == b"220 ready\r\n"


@pytest.mark.parametrize(
    "script",
    [
        [(b"\x05\x01\x02", b"\x05\xff")],
        [(b"\x05\x01\x02", b"\x05\x02"), (LOGIN, b"\x01\x01")],
        [(b"\x05\x01\x02", b"\x05\x02"), (LOGIN, b"\x01\x00"), (ASKED, b"\x05\x02\x00\x01")],
    ],
    ids=["no method", "wrong login", "not allowed"],
)
def test_refusal_of_a_socks_proxy_is_an_error(
    script: list[tuple[bytes, bytes]], made: list[Proxy]
) -> None:
    made.append(Proxy(*script))
    with pytest.raises(tunnel.NoTunnel):
        greeting({"socks_proxy": f"user:secret@127.0.0.1:{made[0].port}"})


@pytest.mark.parametrize(("status", "is_open"), [(200, True), (403, False), (407, False)])
def test_http_proxy_is_asked_by_connect(
    status: int,
    is_open: bool,
    made: list[Proxy],
) -> None:
    answer = b"HTTP/1.1 %d Words\r\nVia: a\r\n\r\n" % status
    made.append(Proxy((b"\r\n\r\n", answer)))
    parameters = {"http_proxy": f"http://user:secret@127.0.0.1:{made[0].port}"}
    if is_open:
        assert greeting(parameters) == b"220 ready\r\n"
    else:
        with pytest.raises(tunnel.NoTunnel):
            greeting(parameters)
