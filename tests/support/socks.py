"""SOCKS clients byte by byte, TCP servers that misbehave, and connection checks that record."""

from __future__ import annotations

import ipaddress
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from efss_transfer.egress import proxy
from efss_transfer.egress.addresses import ConnectionCheck
from efss_transfer.egress.proxy import ANYBODY, Guard
from efss_transfer.model.targets import Address

MIB = 1 << 20
PATIENCE = 60.0
"""A time limit in seconds that only a hang exceeds."""
SECRET = "0123456789abcdef" * 2
METHOD = b"\x05\x01\x02"
"""The offer to send a password, and nothing else."""


def password(user: str = ANYBODY, secret: str = SECRET) -> bytes:
    """A user and a secret (RFC 1929)."""
    return b"\x01" + b"".join(bytes([len(it)]) + it.encode() for it in (user, secret))


GREETING = METHOD + password()
"""A whole greeting of the engine, which need not wait for the answers."""
WELCOME = b"\x05\x02\x01\x00"
"""The answers to it."""


@contextmanager
def guard(
    permits: ConnectionCheck, users: Mapping[str, ConnectionCheck] = MappingProxyType({})
) -> Iterator[Guard]:
    """A guard whose secret is `SECRET`."""
    with proxy.guard(permits, users) as gate:
        gate.access.secret = SECRET
        yield gate


def allow_all(host: str, port: int, address: Address) -> bool:
    return True


def allow_none(host: str, port: int, address: Address) -> bool:
    return False


class RecordingCheck:
    """A connection check that records its calls, and refuses some ports or addresses."""

    def __init__(self, *no: object) -> None:
        self.no = no
        self.calls: list[tuple[str, int, Address]] = []

    def __call__(self, host: str, port: int, address: Address) -> bool:
        self.calls.append((host, port, address))
        return port not in self.no and str(address) not in self.no

    @property
    def ports(self) -> set[int]:
        return {port for _, port, _ in self.calls}


def eventually(true: Callable[[], bool]) -> bool:
    """Whether a condition becomes true within `PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


class Listener:
    """A TCP server that runs a function for each connection, in a thread.

    `reached` has the local address of each connection; it is complete after `close`.
    """

    def __init__(self, serve: Callable[[socket.socket], None], address: str) -> None:
        self._serve = serve
        self._socket = socket.create_server((address, 0), backlog=256)
        self._last: Any = None
        self._workers: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.port: int = self._socket.getsockname()[1]
        self.reached: list[str] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, client = self._socket.accept()
            if client == self._last:
                connection.close()
                return
            self.reached.append(connection.getsockname()[0])
            self._open.append(connection)
            worker = threading.Thread(target=self._work, args=(connection,))
            self._workers.append(worker)
            worker.start()

    def _work(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._last = last.getsockname()
            last.connect(("127.0.0.1", self.port))
            self._thread.join()
        self._socket.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for worker in self._workers:
            worker.join()


@contextmanager
def listening(
    serve: Callable[[socket.socket], None], address: str = "127.0.0.1"
) -> Iterator[Listener]:
    listener = Listener(serve, address)
    try:
        yield listener
    finally:
        listener.close()


def echo(connection: socket.socket) -> None:
    while piece := connection.recv(1 << 16):
        connection.sendall(piece)


def silent(connection: socket.socket) -> None:
    """Keep the connection open without reading or writing."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(connection, selectors.EVENT_READ)
        while connection.recv(1, socket.MSG_PEEK):
            time.sleep(0.01)


def reset(connection: socket.socket) -> None:
    """Reset a connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read(connection: socket.socket, count: int) -> bytes:
    """Read `count` bytes, or fewer if the stream ends first."""
    found = b""
    while len(found) < count and (piece := connection.recv(count - len(found))):
        found += piece
    return found


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def connect(gate: Guard) -> socket.socket:
    """Connect to the guard."""
    connection = socket.socket()
    try:
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(("127.0.0.1", gate.port))
    except OSError:
        connection.close()
        raise
    return connection


def request(host: str | bytes, port: int) -> bytes:
    """A CONNECT request to a name."""
    name = host if isinstance(host, bytes) else host.encode()
    return b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big")


def literal(address: str, port: int) -> bytes:
    """A CONNECT request to an address."""
    packed = ipaddress.ip_address(address).packed
    return (
        b"\x05\x01\x00"
        + (b"\x01" if len(packed) == 4 else b"\x04")
        + packed
        + port.to_bytes(2, "big")
    )


def ask(connection: socket.socket, asked: bytes) -> int:
    """The reply to a request."""
    connection.sendall(GREETING)
    assert read(connection, len(WELCOME)) == WELCOME
    connection.sendall(asked)
    reply = read(connection, 10)
    assert (reply[:1], reply[2:]) == (b"\x05", b"\x00\x01" + bytes(6))
    return reply[1]


def reply_to(gate: Guard, host: str | bytes, port: int) -> int:
    """The reply to a CONNECT to a name; after a refusal the guard must disconnect."""
    with connect(gate) as client:
        reply = ask(client, request(host, port))
        assert reply == 0 or client.recv(1) == b""
        return reply


@contextmanager
def through(gate: Guard, port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection through the guard."""
    with connect(gate) as client:
        assert ask(client, request(host, port)) == 0
        yield client


def serves(gate: Guard) -> bool:
    """Whether the guard still relays connections."""
    with listening(echo) as server, through(gate, server.port) as client:
        client.sendall(b"still there?")
        return read(client, 12) == b"still there?"


def resolve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], list[str]]) -> None:
    """Resolve names under .test with `answer`, and all others as usual."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if not str(host).rstrip(".").lower().endswith(".test"):
            return real(host, port, *rest, **more)
        more["flags"] = socket.AI_NUMERICHOST
        return [entry for one in answer(host) for entry in real(one, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "egress"]


def idle() -> bool:
    """Whether the guards' thread comes to use next to no processor time. It may still be at work
    on what a test has just sent; one that spins uses all that it gets, for as long as it may.
    """
    (thread,) = loop_threads()
    fields = Path(f"/proc/self/task/{thread.native_id}/schedstat")

    def rests() -> bool:
        before = int(fields.read_text().split()[0])
        time.sleep(0.5)  # the time in which its use is measured
        return int(fields.read_text().split()[0]) - before < 50e6  # ns of 0.5 s

    return eventually(rests)
