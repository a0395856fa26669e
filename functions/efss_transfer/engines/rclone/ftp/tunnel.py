"""Connects to a server through the proxy that rclone uses for FTP: the guard, or the site's."""

from __future__ import annotations

import base64
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final
from urllib.parse import unquote, urlsplit

_LONGEST_ANSWER: Final = 1 << 14
_SOCKS: Final = 5
_BY_PASSWORD: Final = 2


class NoTunnel(OSError):
    """The proxy does not connect to the server."""


def connect(parameters: Mapping[str, str], host: str, port: int, seconds: float) -> socket.socket:
    """Connect as a remote with these parameters does. Raises OSError."""
    if "socks_proxy" in parameters:
        proxy = urlsplit(f"//{parameters['socks_proxy']}")
    else:
        proxy = urlsplit(parameters.get("http_proxy", ""))
    if proxy.hostname is None or proxy.port is None:
        raise NoTunnel("no proxy is known")
    login = (unquote(proxy.username or ""), unquote(proxy.password or ""))
    with ExitStack() as undo:
        connection = socket.create_connection((proxy.hostname, proxy.port), seconds)
        undo.callback(connection.close)
        if "socks_proxy" in parameters:
            _ask_socks(connection, login, host.strip("[]"), port)
        else:
            _ask_http(connection, login, host, port)
        undo.pop_all()
        return connection


def _ask_socks(connection: socket.socket, login: tuple[str, str], host: str, port: int) -> None:
    """RFC 1928 with RFC 1929."""
    user, secret = (text.encode() for text in login)
    connection.sendall(bytes((_SOCKS, 1, _BY_PASSWORD)))
    if _received(connection, 2)[1] != _BY_PASSWORD:
        raise NoTunnel("the proxy wants another sign-in")
    connection.sendall(bytes((1, len(user))) + user + bytes((len(secret),)) + secret)
    if _received(connection, 2)[1] != 0:
        raise NoTunnel("the proxy refuses the sign-in")
    name = host.encode("idna" if not host.isascii() else "ascii")
    connection.sendall(bytes((_SOCKS, 1, 0, 3, len(name))) + name + port.to_bytes(2, "big"))
    reply = _received(connection, 4)
    if reply[1] != 0:
        raise NoTunnel(f"the proxy answers {reply[1]}")
    _received(connection, 6)  # the guard's bound address, which is always one of IPv4


def _ask_http(connection: socket.socket, login: tuple[str, str], host: str, port: int) -> None:
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if login[0]:
        token = base64.b64encode(":".join(login).encode()).decode("ascii")
        head += f"Proxy-Authorization: Basic {token}\r\n"
    connection.sendall(f"{head}\r\n".encode("latin-1", "replace"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n") and len(answer) < _LONGEST_ANSWER:
        answer += _received(connection, 1)
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise NoTunnel("the proxy refuses the connection")


def _received(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise NoTunnel("the proxy closed the connection")
        received += piece
    return received
