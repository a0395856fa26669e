"""All of an engine's connections go through the guard, and only where they may.

Clients that speak SOCKS byte by byte, servers that misbehave, and the real rclone between
real storages.
"""

from __future__ import annotations

import asyncio
import errno
import http.server
import ipaddress
import json
import logging
import os
import random
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from efss_transfer.egress import dialer, event_loops, proxy, relay
from efss_transfer.egress.event_loops import LoopPool
from efss_transfer.egress.proxy import Guard, guard
from efss_transfer.model.targets import Address
from support import http_servers
from support.storages import Storage

MIB = 1 << 20
PATIENCE = 60.0
"""Seconds that nothing here takes; what takes longer hangs."""
GREETING = b"\x05\x01\x00"
WELCOME = b"\x05\x00"


def everything(host: str, port: int, address: Address) -> bool:
    return True


def nothing(host: str, port: int, address: Address) -> bool:
    return False


class Asked:
    """A policy that remembers what it was asked, and says yes but to some ports or addresses."""

    def __init__(self, *no: object) -> None:
        self.no = no
        self.questions: list[tuple[str, int, Address]] = []

    def __call__(self, host: str, port: int, address: Address) -> bool:
        self.questions.append((host, port, address))
        return port not in self.no and str(address) not in self.no

    @property
    def ports(self) -> set[int]:
        return {port for _, port, _ in self.questions}


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it comes true, with all the time that a loaded machine may need."""
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No thread and no descriptor may be left of a test."""
    process = psutil.Process()
    threads, descriptors = set(threading.enumerate()), process.num_fds()
    yield
    assert eventually(lambda: set(threading.enumerate()) <= threads)
    assert eventually(lambda: process.num_fds() <= descriptors), process.num_fds() - descriptors


@pytest.fixture(params=["splice", "buffer"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How bytes are passed on: within the kernel, or through this process."""
    if request.param == "buffer":
        monkeypatch.setattr(relay, "splice_works", lambda: False)
    return str(request.param)


# A server and a client


class Listener:
    """A TCP server that does with each connection, in a thread, what a test says. `reached`
    has the address at which each came; once it is closed, of all that ever came.
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
    """Read nothing, write nothing, and stay."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(connection, selectors.EVENT_READ)
        while connection.recv(1, socket.MSG_PEEK):
            time.sleep(0.01)


def reset(connection: socket.socket) -> None:
    """Break a connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read(connection: socket.socket, count: int) -> bytes:
    """That many bytes, or fewer if the stream ends before."""
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
    """To the guard."""
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
    """A CONNECT to a name."""
    name = host if isinstance(host, bytes) else host.encode()
    return b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big")


def literal(address: str, port: int) -> bytes:
    """A CONNECT to an address."""
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
    assert read(connection, 2) == WELCOME
    connection.sendall(asked)
    reply = read(connection, 10)
    assert (reply[:1], reply[2:]) == (b"\x05", b"\x00\x01" + bytes(6))
    return reply[1]


def reply_to(gate: Guard, host: str | bytes, port: int) -> int:
    """The reply to a CONNECT to a name; after a refusal the guard must hang up."""
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
    """Whether the guard still does its work."""
    with listening(echo) as server, through(gate, server.port) as client:
        client.sendall(b"still there?")
        return read(client, 12) == b"still there?"


def resolve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], list[str]]) -> None:
    """Give names their addresses; what is no name under .test resolves as ever."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if not str(host).rstrip(".").lower().endswith(".test"):
            return real(host, port, *rest, **more)
        more["flags"] = socket.AI_NUMERICHOST
        return [entry for one in answer(host) for entry in real(one, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# What is permitted


def test_what_is_permitted_is_reached(nothing_left: None) -> None:
    policy = Asked()
    with listening(echo) as server, guard(policy) as gate:
        with through(gate, server.port) as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
        assert gate.refused == ()
    assert policy.questions == [("127.0.0.1", server.port, ipaddress.ip_address("127.0.0.1"))]


def test_what_is_not_permitted_is_not_reached(
    nothing_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "efss_transfer.egress.proxy")
    with listening(echo) as server, guard(nothing) as gate:
        for _ in range(3):
            assert reply_to(gate, "127.0.0.1", server.port) == 2
        refused = [f"127.0.0.1:{server.port}"]
        assert list(gate.refused) == refused
    assert server.reached == []
    assert [record.getMessage() for record in caplog.records] == [
        f"refused a connection to {refused[0]}"
    ]
    assert caplog.records[0].name == "efss_transfer.egress.proxy"
    assert caplog.records[0].levelno == logging.INFO


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_addresses_need_no_name(host: str) -> None:
    policy = Asked()
    with guard(policy) as gate, connect(gate) as client:
        ask(client, literal(host, 9))
    ((asked, port, address),) = policy.questions
    assert ipaddress.ip_address(asked) == ipaddress.ip_address(host)
    assert (port, str(address)) == (9, host.removeprefix("::ffff:"))


@pytest.mark.parametrize(
    "written",
    [
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0x7f000001",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
    ],
)
def test_however_an_address_is_written_the_policy_sees_it(written: str) -> None:
    policy = Asked("127.0.0.1")
    with listening(echo, "0.0.0.0") as server, guard(policy) as gate:
        assert reply_to(gate, written, server.port) == 2
        refused = f"[{written}]" if ":" in written else written
        assert list(gate.refused) == [f"{refused}:{server.port}"]
    assert policy.questions == [(written, server.port, ipaddress.ip_address("127.0.0.1"))]
    assert server.reached == []


def test_an_ipv4_address_in_ipv6_clothes_is_connected_to_as_ipv4() -> None:
    with listening(echo) as server, guard(Asked()) as gate, connect(gate) as client:
        assert ask(client, literal("::ffff:127.0.0.1", server.port)) == 0
    assert server.reached == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["Storage.Test.", "STORAGE.TEST", "storage.test."])
def test_the_policy_sees_names_in_small_letters_without_a_final_dot(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, lambda _: ["127.0.0.1"])
    policy = Asked("127.0.0.1")
    with guard(policy) as gate:
        assert reply_to(gate, host, 9) == 2
        assert list(gate.refused) == [f"{host}:9"]
    assert {asked for asked, _, _ in policy.questions} == {"storage.test"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\x00.example.org", r"a\x00.example.org"),
        (b"a\n2026 INFO all is well", r"a\n2026 INFO all is well"),
        (b"\x1b[31m", r"\x1b[31m"),
        ("münchen.example.org".encode(), r"m\xc3\xbcnchen.example.org"),
        (b"127.0.0.1 example.org", "127.0.0.1 example.org"),
        (b"\x7f", r"\x7f"),
        (b"fe80::1%1", "[fe80::1%1]"),
        (b"fe80::1%lo", "[fe80::1%lo]"),
        (b"::1%lo", "[::1%lo]"),
        (b"", ""),
    ],
)
def test_what_is_no_name_is_refused_without_looking_it_up(
    name: bytes, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_: looked_up.append(asked))
    with guard(everything) as gate:
        assert reply_to(gate, name, 80) == 2
        assert list(gate.refused) == [f"{shown}:80"]
    assert looked_up == []


def test_a_name_that_stands_for_an_address_with_a_zone_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve(monkeypatch, lambda _: ["fe80::1%1"])
    with guard(everything) as gate:
        assert reply_to(gate, "router.test", 80) == 2


def test_a_long_list_of_refusals_is_cut() -> None:
    with guard(nothing) as gate:
        for number in range(110):
            assert reply_to(gate, f"127.0.0.{number}", 80) == 2
        assert reply_to(gate, "1" * 255, 80) in {2, 4}
        assert list(gate.refused) == [f"127.0.0.{number}:80" for number in range(100)]
    with guard(everything) as gate:
        assert reply_to(gate, b"\x80" * 255, 80) == 2
        assert [len(entry) for entry in gate.refused] == [253 + len(":80")]


def test_a_policy_that_fails_permits_nothing(
    nothing_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(host: str, port: int, address: Address) -> bool:
        if port == 9:
            raise ValueError("a secret")
        return True

    with guard(broken) as gate:
        assert reply_to(gate, "127.0.0.1", 9) == 1
        assert serves(gate)
    assert "ValueError" in caplog.text
    assert "a secret" not in caplog.text


# Names


def test_only_an_address_that_was_asked_about_is_connected_to(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []

    def rebinding(host: str) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["127.0.0.2"]

    resolve(monkeypatch, rebinding)
    policy = Asked("127.0.0.2")
    # A server on all addresses: which of them it was reached at is what counts.
    with listening(echo, "0.0.0.0") as server, guard(policy) as gate:
        with through(gate, server.port, "storage.test") as client:
            client.sendall(b"x")
            assert read(client, 1) == b"x"
        assert len(lookups) == 1, "the second look-up is the one that lies"
        assert reply_to(gate, "storage.test", server.port) == 2
        assert list(gate.refused) == [f"storage.test:{server.port}"]
    assert server.reached == ["127.0.0.1"]


def test_of_several_addresses_only_permitted_ones_are_tried(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, lambda _: ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.3"])
    policy = Asked("127.0.0.2", "127.0.0.4")
    with listening(echo, "0.0.0.0") as server, guard(policy) as gate:
        with through(gate, server.port, "storage.test"):
            pass
        assert gate.refused == ()
    assert server.reached == ["127.0.0.3"]
    assert [str(address) for _, _, address in policy.questions] == [
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.4",
    ]


def test_an_address_that_does_not_answer_is_followed_by_the_next(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens on the first, nor on IPv6.
    resolve(monkeypatch, lambda _: ["127.0.0.2", "::1", "127.0.0.1"])
    with (
        listening(echo) as server,
        guard(everything) as gate,
        through(gate, server.port, "storage.test") as client,
    ):
        client.sendall(b"x")
        assert read(client, 1) == b"x"


@pytest.mark.parametrize("host", ["nowhere.test", "a" * 64 + ".test", "a..test", "." * 200])
def test_a_name_without_an_address_is_unreachable(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(host: str) -> list[str]:
        host.encode("idna")  # as the real one does
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve(monkeypatch, none)
    with guard(nothing) as gate:
        assert reply_to(gate, host, 80) == 4
        assert gate.refused == ()
        with listening(echo) as server:
            assert reply_to(gate, "127.0.0.1", server.port) == 2


def test_leaving_does_not_wait_for_a_lookup_that_hangs(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def hang(_: str) -> list[str]:
        hanging.set()
        assert go_on.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, hang)
    policy = Asked()
    with listening(echo) as server:
        with guard(policy) as gate:
            client = connect(gate)
            client.sendall(GREETING + request("storage.test", server.port))
            assert hanging.wait(PATIENCE)
            assert serves(gate), "others must not wait for it"
        with client:
            assert read_all(client) == WELCOME
        assert not go_on.is_set()
        go_on.set()
        assert eventually(
            lambda: not [t for t in threading.enumerate() if t.name == "egress-lookup"]
        )
    assert server.reached == []


def test_a_lookup_that_hangs_is_answered_in_the_end(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", 0.1)
    go_on = threading.Event()

    def hang(_: str) -> list[str]:
        assert go_on.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, hang)
    with guard(everything) as gate:
        assert reply_to(gate, "storage.test", 80) == 4
        go_on.set()


def test_no_more_lookups_run_at_once_than_there_are_places(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", PATIENCE)
    lock, running, most = threading.Lock(), 0, 0
    full, go_on = threading.Event(), threading.Event()

    def counted(_: str) -> list[str]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 64:
                full.set()
        assert go_on.wait(PATIENCE)
        with lock:
            running -= 1
        return ["127.0.0.1"]

    resolve(monkeypatch, counted)
    with listening(echo) as server, guard(everything) as gate, ExitStack() as clients:
        waiting = [clients.enter_context(connect(gate)) for _ in range(100)]
        for number, client in enumerate(waiting):
            client.sendall(GREETING + request(f"storage{number}.test", server.port))
        assert full.wait(PATIENCE)
        assert idle(), "it waits for a place without trying again and again"
        go_on.set()
        for client in waiting:
            assert read(client, 4) == WELCOME + b"\x05\x00"
    assert most == 64


def test_who_asks_for_the_same_name_at_the_same_time_has_the_same_answer(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, asked = threading.Event(), []

    def counted(name: str) -> list[str]:
        asked.append(name)
        assert go_on.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, counted)
    policy = Asked()
    with listening(echo) as server, guard(policy) as gate, ExitStack() as clients:
        waiting = [clients.enter_context(connect(gate)) for _ in range(50)]
        for client in waiting:
            client.sendall(GREETING + request("storage.test", server.port))
        assert read(waiting[0], 2) == WELCOME
        assert idle(), "all of them wait for the one look-up"
        go_on.set()
        assert read(waiting[0], 2) == b"\x05\x00"
        for client in waiting[1:]:
            assert read(client, 4) == WELCOME + b"\x05\x00"
        assert asked == ["storage.test"]
        # What a name meant is not kept: who comes later has it looked up again.
        assert reply_to(gate, "storage.test", server.port) == 0
        assert len(asked) == 2


def test_who_comes_after_a_lookup_that_hangs_does_not_wait_for_it(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", 0.3)
    go_on, asked = threading.Event(), []

    def hangs_once(name: str) -> list[str]:
        asked.append(name)
        if len(asked) == 1:
            assert go_on.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, hangs_once)
    with listening(echo) as server, guard(everything) as gate:
        assert reply_to(gate, "storage.test", server.port) == 4
        assert reply_to(gate, "storage.test", server.port) == 0
        go_on.set()


def test_an_address_is_not_looked_up(nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(*_: Any, **__: Any) -> Any:
        raise AssertionError("an address was looked up")

    with listening(echo) as server, guard(everything) as gate:
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        assert reply_to(gate, "127.0.0.1", server.port) == 0


# Replies


def test_a_port_where_nobody_listens_refuses_the_connection(nothing_left: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with guard(everything) as gate:
        assert reply_to(gate, "127.0.0.1", port) == 5
        assert gate.refused == ()


def test_a_server_that_does_not_answer_is_a_timeout(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_ADDRESS_SECONDS", 0.2)
    with ExitStack() as undo:
        # Its backlog is full, so that it takes no notice of who comes then.
        deaf = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = undo.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        gate = undo.enter_context(guard(everything))
        assert reply_to(gate, "127.0.0.1", deaf.getsockname()[1]) == 6
        monkeypatch.setattr(dialer, "_CONNECT_SECONDS", 0.1)
        monkeypatch.setattr(dialer, "_ADDRESS_SECONDS", PATIENCE)
        assert reply_to(gate, "127.0.0.1", deaf.getsockname()[1]) == 6


@pytest.mark.parametrize(
    ("number", "reply"),
    [
        (errno.ENETUNREACH, 3),
        (errno.EAFNOSUPPORT, 3),
        (errno.EHOSTUNREACH, 4),
        (errno.ECONNREFUSED, 5),
        (errno.ETIMEDOUT, 6),
        (errno.EACCES, 1),
    ],
)
def test_the_reply_says_why_a_connection_failed(
    number: int, reply: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError(number, "a text")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", fail)
    with guard(everything) as gate:
        assert reply_to(gate, "127.0.0.1", 80) == reply


# What is sent, and what is answered: where there is an answer, not a byte follows of what
# made the guard give it, because hanging up on that would break the connection.
MALFORMED = {
    "nothing": (b"", b""),
    "SOCKS 4": (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b""),
    "HTTP": (b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n", b""),
    "an HTTP proxy": (b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n", b""),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), b""),
    "zeros": (bytes(1000), b""),
    "half a greeting": (b"\x05", b""),
    "no methods": (b"\x05\x00", b"\x05\xff"),
    "a password wanted": (b"\x05\x01\x02", b"\x05\xff"),
    "methods missing": (b"\x05\xff\x01\x02", b""),
    "no request": (GREETING, WELCOME),
    "half a request": (GREETING + b"\x05\x01\x00", WELCOME),
    "half a name": (GREETING + b"\x05\x01\x00\x03\xfflocalhost", WELCOME),
    "half a port": (GREETING + b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00", WELCOME),
    "another version": (
        GREETING + b"\x04\x01\x00\x01",
        WELCOME + b"\x05\x01",
    ),
    "reserved": (GREETING + b"\x05\x01\x01\x01", WELCOME + b"\x05\x01"),
    "BIND": (GREETING + b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", WELCOME + b"\x05\x07"),
    "UDP": (GREETING + b"\x05\x03\x00\x03\x01a\x00\x50", WELCOME + b"\x05\x07"),
    "another address type": (GREETING + b"\x05\x01\x00\x02", WELCOME + b"\x05\x08"),
    "no name": (GREETING + b"\x05\x01\x00\x03\x00\x00\x50", WELCOME + b"\x05\x02"),
}


@pytest.mark.parametrize("dribbled", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_not_socks_is_answered_or_closed_and_does_no_harm(
    case: str, dribbled: bool, nothing_left: None
) -> None:
    sent, answer = MALFORMED[case]
    if len(answer) == 4:
        answer += b"\x00\x01" + bytes(6)
    with guard(everything) as gate:
        with connect(gate) as client:
            heard = b""
            # The guard may hang up before it has heard all of it.
            with suppress(OSError):
                for piece in [sent[i : i + 1] for i in range(len(sent))] if dribbled else [sent]:
                    client.sendall(piece)
                client.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while piece := client.recv(100):
                    heard += piece
        if len(sent) < 20 or not dribbled:
            assert answer.startswith(heard)
        assert serves(gate)


@pytest.mark.parametrize("case", [case for case in MALFORMED if MALFORMED[case][1]])
def test_an_error_of_the_client_is_answered_before_it_is_closed(case: str) -> None:
    sent, answer = MALFORMED[case]
    with guard(everything) as gate, connect(gate) as client:
        for number, byte in enumerate(sent):
            client.sendall(bytes([byte]))
            if sent[: number + 1] == GREETING:
                assert read(client, 2) == WELCOME
        client.shutdown(socket.SHUT_WR)
        rest = read_all(client)
        assert (WELCOME + rest if sent.startswith(GREETING) else rest)[: len(answer)] == answer


def test_a_client_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_HANDSHAKE_SECONDS", 0.2)
    with guard(everything) as gate:
        with connect(gate) as client:
            assert client.recv(1) == b""
        with connect(gate) as client:
            client.sendall(GREETING)
            assert read_all(client) == WELCOME


def test_a_correct_request_may_come_byte_by_byte_and_with_what_follows_it() -> None:
    with listening(echo) as server, guard(everything) as gate:
        whole = GREETING + request("localhost", server.port) + b"early"
        for size in (1, len(whole)):
            with connect(gate) as client:
                for start in range(0, len(whole), size):
                    client.sendall(whole[start : start + size])
                assert (
                    read(client, 2 + 10 + 5) == WELCOME + b"\x05\x00\x00\x01" + bytes(6) + b"early"
                )


# Bytes


def chunks(size: int, seed: int) -> Iterator[bytes]:
    """Random bytes in pieces of random sizes, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    block = chance.randbytes(4 * MIB)
    while size:
        piece = min(size, chance.choice([1, 100, 1460, 1 << 16, 1 << 18, 3 * MIB]))
        start = chance.randrange(len(block) - piece)
        yield block[start : start + piece]
        size -= piece


def test_200_mib_come_back_as_they_went(carrier: str, nothing_left: None) -> None:
    size = 200 * MIB
    with listening(echo) as server, guard(everything) as gate, through(gate, server.port) as client:

        def send() -> None:
            for piece in chunks(size, 1):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)

        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send)
            chance, received = random.Random(2), 0  # noqa: S311 - the same in every run
            for piece in chunks(size, 1):
                got = bytearray()
                while len(got) < len(piece):
                    most = min(len(piece) - len(got), chance.choice([1000, 1 << 16, MIB]))
                    part = client.recv(most)
                    assert part, f"it ended after {received} bytes"
                    got += part
                    if chance.random() < 0.001:
                        time.sleep(0.01)  # a reader that is slow now and then
                assert got == piece
                received += len(piece)
            assert client.recv(1) == b""
            sent.result()


def test_who_does_not_read_stops_who_writes(carrier: str, nothing_left: None) -> None:
    go_on = threading.Event()
    received: list[bytes] = []

    def late(connection: socket.socket) -> None:
        assert go_on.wait(PATIENCE)
        received.append(read_all(connection))

    with (
        listening(late) as server,
        guard(everything) as gate,
        through(gate, server.port) as client,
        selectors.DefaultSelector() as writable,
    ):
        writable.register(client, selectors.EVENT_WRITE)
        client.setblocking(False)
        block, sent = random.Random(3).randbytes(MIB), 0  # noqa: S311 - the same in every run
        while writable.select(1):
            with suppress(BlockingIOError):
                sent += client.send(block[sent % MIB :])
        # What four socket buffers hold at most, and one pipe.
        assert sent < 150 * MIB
        assert idle()
        go_on.set()
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert len(received[0]) == sent
    assert received[0] == (block * (sent // MIB + 1))[:sent]


def test_an_end_of_stream_is_passed_on_and_the_other_direction_goes_on(
    carrier: str, nothing_left: None
) -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        connection.sendall(b"%d bytes" % len(read_all(connection)))

    def question(connection: socket.socket) -> None:
        connection.sendall(b"how many?")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    heard: list[bytes] = []
    with guard(everything) as gate:
        with listening(answer_at_the_end) as server, through(gate, server.port) as client:
            client.sendall(bytes(5 * MIB))
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"5242880 bytes"
        with listening(question) as server:
            with through(gate, server.port) as client:
                assert read_all(client) == b"how many?"
                client.sendall(b"three" * MIB)
            assert eventually(lambda: bool(heard))
    assert heard == [b"three" * MIB]


def test_a_connection_that_breaks_does_not_look_like_one_that_ends(
    carrier: str, nothing_left: None
) -> None:
    def break_off(connection: socket.socket) -> None:
        connection.sendall(b"half of a fi")
        read(connection, 1)
        reset(connection)

    def expect_more(connection: socket.socket) -> None:
        try:
            outcome.append(read_all(connection))
        except ConnectionResetError:
            outcome.append(b"broken")

    outcome: list[bytes] = []
    with guard(everything) as gate:
        with listening(break_off) as server, through(gate, server.port) as client:
            assert read(client, 12) == b"half of a fi"
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with listening(expect_more) as server:
            with through(gate, server.port) as client:
                client.sendall(b"half of a fi")
                reset(client)
            assert eventually(lambda: bool(outcome))
    assert outcome == [b"broken"]


def test_what_a_server_says_before_it_hangs_up_on_an_upload_arrives(
    carrier: str, nothing_left: None
) -> None:
    def refuse(connection: socket.socket) -> None:
        read(connection, 1)
        connection.sendall(b"413 Content Too Large")
        # With most of the upload unread this breaks the connection.

    with listening(refuse) as server, guard(everything) as gate:
        for _ in range(20):
            with through(gate, server.port) as client:
                with suppress(ConnectionError):
                    while True:
                        client.sendall(bytes(MIB))
                assert read(client, 21) == b"413 Content Too Large"


def test_last_words_are_read_although_writing_fails_first(carrier: str, nothing_left: None) -> None:
    def pair() -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname(), PATIENCE)
            far, _ = listener.accept()
        far.setblocking(False)
        return near, far

    client, from_client = pair()
    server, to_server = pair()
    # All of this has happened when the relay begins, and what the client sent comes first.
    client.sendall(b"upload")
    to_server.send(b"unread, which makes a connection break when it is closed")
    server.sendall(b"413 Content Too Large")
    server.close()
    assert eventually(lambda: to_server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0)

    async def pass_on() -> None:
        with relay.BufferPool() as carriers:
            await relay.relay(from_client, to_server, carriers)

    with client:
        with from_client, to_server, pytest.raises(OSError):
            asyncio.run(pass_on())
        assert read(client, 21) == b"413 Content Too Large"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_200_connections_at_once_do_not_mix_up_their_bytes(
    carrier: str, nothing_left: None
) -> None:
    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def one(number: int, gate_port: int, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate_port)
        writer.write(GREETING + request("127.0.0.1", port))
        assert (await reader.readexactly(12))[:4] == WELCOME + b"\x05\x00"
        mine = random.Random(number).randbytes(MIB)  # noqa: S311 - the same in every run

        async def send() -> None:
            for start in range(0, MIB, 1 << 14):
                writer.write(mine[start : start + (1 << 14)])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read(-1) == mine
        await sending
        writer.close()

    async def all_of_them(gate_port: int) -> None:
        server = await asyncio.start_server(back, "127.0.0.1", backlog=256)
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*(one(number, gate_port, port) for number in range(200)))
        server.close()
        await server.wait_closed()

    policy = Asked()
    with guard(policy) as gate:
        asyncio.run(all_of_them(gate.port))
    assert len(policy.questions) == 200


# Coming and going


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_leaving_breaks_all_connections_at_once(
    error: type[Exception] | None, carrier: str, nothing_left: None
) -> None:
    broken: list[bool] = []

    def flood(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(bytes(MIB))
        except OSError:
            broken.append(True)

    with ExitStack() as clients, listening(flood) as server:
        connections: list[socket.socket] = []
        with suppress(ZeroDivisionError), guard(everything) as gate:
            for asked in (b"", GREETING[:1], GREETING):
                connections.append(clients.enter_context(connect(gate)))
                connections[-1].sendall(asked)
            connections += [clients.enter_context(through(gate, server.port)) for _ in range(20)]
            assert read(connections[-1], 10 * MIB) == bytes(10 * MIB)
            # Some go first.
            for gone in connections[-5:]:
                gone.close()
            if error:
                raise error
        assert eventually(lambda: len(broken) == 20)
        for connection in connections[:-5]:
            with suppress(ConnectionResetError):
                read_all(connection)
        with pytest.raises(ConnectionRefusedError):
            connect(gate)


def test_a_guard_that_nobody_uses_leaves_nothing(nothing_left: None) -> None:
    for _ in range(20):
        with guard(everything):
            pass


def test_many_guards_live_beside_each_other(nothing_left: None) -> None:
    with guard(everything) as one, guard(nothing) as other, listening(echo) as server:
        assert one.port != other.port
        assert reply_to(other, "127.0.0.1", server.port) == 2
        with guard(nothing):
            pass
        assert serves(one)


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "egress"]


def test_guards_share_threads_of_which_there_are_few(nothing_left: None) -> None:
    most = event_loops.useful_loop_count()
    assert most < len(os.sched_getaffinity(0)) or most == 1
    with ExitStack() as undo:
        server = undo.enter_context(listening(echo))
        gates = [undo.enter_context(guard(everything)) for _ in range(16)]
        assert len(loop_threads()) == most
        assert all(serves(gate) for gate in gates)
        # One that is left breaks off what is its own, and nothing else.
        other = undo.enter_context(through(gates[0], server.port))
        with guard(everything) as left, through(left, server.port) as own:
            pass
        with own, pytest.raises(ConnectionRefusedError):
            connect(left)
        other.sendall(b"x")
        assert read(other, 1) == b"x"
    assert loop_threads() == []


def test_loops_are_as_many_as_are_used_and_never_more_than_allowed(nothing_left: None) -> None:
    pool = LoopPool(2)
    with pool.acquire() as first:
        with pool.acquire() as second, pool.acquire() as third:
            assert first is not second
            assert third is first
        assert not second.is_running
        with pool.acquire() as fourth:
            assert fourth is not first
    assert not first.is_running
    first.call_soon(pytest.fail)
    first.run(pytest.fail)  # is not waited for


def test_a_loop_without_a_thread_leaves_nothing(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError), guard(everything):
        pass


def test_a_loop_that_broke_is_used_by_nobody_else(
    nothing_left: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EBADF, "a secret path")

    pool = LoopPool(1)
    with pool.acquire() as broken:
        monkeypatch.setattr(broken._loop, "_run_once", fail)
        broken.call_soon(lambda: None)
        assert eventually(lambda: not broken.is_running)
        with pool.acquire() as other:
            assert other is not broken
            done = threading.Event()
            other.call_soon(done.set)
            assert done.wait(PATIENCE)
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text


def test_it_waits_while_there_are_no_descriptors_and_then_serves_on(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full, failed = socket.socket.accept, threading.Event(), threading.Event()

    def accept(self: socket.socket) -> Any:
        if full.is_set() and threading.current_thread().name == "egress":
            failed.set()
            raise OSError(errno.EMFILE, "out of descriptors")
        return real(self)

    with listening(echo) as server, guard(everything) as gate, through(gate, server.port) as old:
        monkeypatch.setattr(socket.socket, "accept", accept)
        full.set()
        with connect(gate) as new:
            assert failed.wait(PATIENCE)
            assert idle()
            old.sendall(b"x")
            assert read(old, 1) == b"x"
            full.clear()
            assert ask(new, request("127.0.0.1", server.port)) == 0
        full.set()
        with connect(gate):
            failed.clear()
            assert failed.wait(PATIENCE)  # and is left like this


@pytest.mark.parametrize("broken", ["missing", "refused"])
def test_where_there_is_no_splice_bytes_go_through_memory(
    broken: str, nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EINVAL, "no such thing here")

    assert relay.splice_works()
    relay.splice_works.cache_clear()
    try:
        if broken == "missing":
            monkeypatch.delattr(os, "splice")
        else:
            monkeypatch.setattr(os, "splice", refuse)
        with guard(everything) as gate:
            assert serves(gate)
        assert not relay.splice_works()
    finally:
        relay.splice_works.cache_clear()


def test_without_descriptors_for_pipes_bytes_go_through_memory(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pipe2(_: int) -> Any:
        raise OSError(errno.EMFILE, "out of descriptors")

    with guard(everything) as gate:
        monkeypatch.setattr(os, "pipe2", pipe2)
        assert serves(gate)


def idle() -> bool:
    """Whether the thread of the guards uses next to no processor's time, however much of it
    there is: one that goes round and round uses all that it gets.
    """
    (thread,) = loop_threads()
    fields = Path(f"/proc/self/task/{thread.native_id}/schedstat")
    before = int(fields.read_text().split()[0])
    time.sleep(0.5)
    return int(fields.read_text().split()[0]) - before < 50e6  # ns of 0.5 s


def test_connections_that_wait_use_no_processor(nothing_left: None, carrier: str) -> None:
    def flood(connection: socket.socket) -> None:
        connection.settimeout(1)
        with suppress(TimeoutError):
            while True:
                connection.send(bytes(MIB))
        connection.shutdown(socket.SHUT_WR)
        full.set()
        silent(connection)

    full = threading.Event()
    with ExitStack() as undo:
        gate = undo.enter_context(guard(everything))
        quiet = undo.enter_context(listening(silent))
        loud = undo.enter_context(listening(flood))
        undo.enter_context(connect(gate))  # a handshake that has not begun
        undo.enter_context(through(gate, quiet.port))  # nothing to say
        half = undo.enter_context(through(gate, quiet.port))  # half closed
        half.shutdown(socket.SHUT_WR)
        # Blocked, with all that there is to come already there, and its end; and half
        # closed from the other end as well.
        blocked = undo.enter_context(through(gate, loud.port))
        assert full.wait(PATIENCE)
        assert idle()
        blocked.shutdown(socket.SHUT_WR)
        assert idle()
        assert len(read_all(blocked)) > 0
        # A client that was closed while the server still is.
        undo.enter_context(through(gate, quiet.port)).close()
        assert idle()


# rclone


class Rclone:
    """The real one, told to connect by way of a guard."""

    def __init__(self, binary: Path, home: Path) -> None:
        self._binary = binary
        self._home = home

    def __call__(
        self, gate: Guard, *arguments: str, **remotes: dict[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self._home)}
        for name, endpoint in remotes.items():
            options = {"type": endpoint["type"], **endpoint["parameters"]}
            if options["type"] in ("sftp", "ftp"):
                options["socks_proxy"] = f"127.0.0.1:{gate.port}"
            for option, value in options.items():
                text = str(value).lower() if isinstance(value, bool) else str(value)
                environment[f"RCLONE_CONFIG_{name}_{option}".upper()] = (
                    self._obscured(text) if option == "pass" else text
                )
        return subprocess.run(
            [
                self._binary,
                *arguments,
                "--config=",
                "--use-json-log",
                "--retries=1",
                "--low-level-retries=1",
                f"--http-proxy=socks5://127.0.0.1:{gate.port}",
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def _obscured(self, text: str) -> str:
        return subprocess.run(
            [self._binary, "obscure", "-"], input=text, capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture
def run(rclone: Path, tmp_path: Path) -> Rclone:
    return Rclone(rclone, tmp_path)


def port_of(storage: Storage) -> int:
    address = storage.parameters.get("url") or storage.parameters.get("endpoint")
    return int(str(address).rpartition(":")[2]) if address else int(storage.parameters["port"])


@pytest.mark.parametrize(
    ("source", "destination"),
    [("rclone", "s3"), ("s3", "wsgidav"), ("sftp", "ftp"), ("ftp", "sftp")],
)
def test_rclone_copies_through_the_guard(
    source: str, destination: str, run: Rclone, storages: dict[str, Storage]
) -> None:
    one, other = storages[source], storages[destination]
    chance = random.Random(4)  # noqa: S311 - the same in every run
    files = {"a.bin": chance.randbytes(3 * MIB + 1), "b/c.txt": b"c", "empty": b""}
    folder = f"egress-{source}-{destination}"
    files_written = one.fill("/".join(filter(None, [one.base, folder])), files)

    policy = Asked()
    with guard(policy) as gate:
        origin, target = one.endpoint(folder), other.endpoint(folder)
        done = run(
            gate, "copy", f"src:{origin['path']}", f"dst:{target['path']}", src=origin, dst=target
        )
    assert done.returncode == 0, done.stderr
    assert other.hashes(target["path"]) == files_written
    assert {port_of(one), port_of(other)} <= policy.ports
    # FTP asks for a connection, and a port, for each of its files.
    assert len(policy.ports) > 2 or "ftp" not in (source, destination)
    assert {str(address) for _, _, address in policy.questions} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["rclone", "s3", "sftp", "ftp"])
def test_rclone_reaches_nothing_that_is_not_permitted(
    name: str, run: Rclone, storages: dict[str, Storage]
) -> None:
    storage = storages[name]
    with guard(Asked(port_of(storage))) as gate:
        endpoint = storage.endpoint()
        done = run(gate, "lsf", f"src:{endpoint['path']}", src=endpoint)
        assert list(gate.refused) == [f"127.0.0.1:{port_of(storage)}"]
    assert done.returncode != 0
    assert "connection not allowed by ruleset" in done.stderr


@pytest.mark.parametrize("permitted", [False, True])
def test_a_redirect_leads_nowhere_that_is_not_permitted(
    permitted: bool, run: Rclone, tmp_path: Path
) -> None:
    def answer_file(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND":
            sizes = {"/": 0, "/file": 6}
            inside = sizes if handler.path == "/" else {handler.path: 6}
            http_servers.reply(handler, 207, http_servers.multistatus(inside), "text/xml")
        else:
            handler.send_response(302)
            handler.send_header("Location", f"http://127.0.0.1:{inner.port}/secret")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def secret(connection: socket.socket) -> None:
        read(connection, 1)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"
        )
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)

    with listening(secret) as inner, http_servers.misbehaving(answer_file) as url:
        policy = Asked() if permitted else Asked(inner.port)
        with guard(policy) as gate:
            source = {"type": "webdav", "parameters": {"url": url, "vendor": "other"}}
            done = run(gate, "copy", "src:", str(tmp_path / "copied"), src=source)
            refused = list(gate.refused)
        assert inner.port in policy.ports, "rclone does not even follow it"
    arrived = (tmp_path / "copied" / "file").exists()
    if permitted:
        assert (done.returncode, arrived) == (0, True), done.stderr
    else:
        assert inner.reached == []
        assert refused == [f"127.0.0.1:{inner.port}"]
        assert done.returncode != 0
        assert not arrived


def test_rclone_leaves_looking_up_names_to_the_guard(
    run: Rclone, storages: dict[str, Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storages["rclone"]
    storage.fill("egress-name", {"file": b"content"})
    url = f"http://Storage.Test:{port_of(storage)}"
    answers = ["127.0.0.1"]
    resolve(monkeypatch, lambda _: answers)
    policy = Asked("127.0.0.2")
    with guard(policy) as gate:
        endpoint = storage.endpoint(url=url)
        listed = run(gate, "lsf", "src:egress-name", src=endpoint)
        assert listed.stdout == "file\n", listed.stderr
        answers[:] = ["127.0.0.2"]
        again = run(gate, "lsf", "src:egress-name", src=endpoint)
        assert again.returncode != 0
        assert list(gate.refused) == [f"Storage.Test:{port_of(storage)}"]
    assert {host for host, _, _ in policy.questions} == {"storage.test"}
    errors = [json.loads(line)["msg"] for line in again.stderr.splitlines()]
    assert any("connection not allowed by ruleset" in error for error in errors)
