"""The guard: what it permits, how it replies, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import threading
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from efss_transfer.egress import dialer, event_loops
from efss_transfer.egress.proxy import ANYBODY
from efss_transfer.model.targets import Address
from support.socks import (
    GREETING,
    METHOD,
    MIB,
    PATIENCE,
    SECRET,
    RecordingCheck,
    allow_all,
    allow_none,
    ask,
    connect,
    echo,
    eventually,
    guard,
    idle,
    listening,
    literal,
    loop_threads,
    password,
    read,
    read_all,
    reply_to,
    request,
    resolve,
    serves,
    silent,
    through,
)
from support.storages import CLOSED_PORT


def test_permitted_destination_is_connected(nothing_left: None) -> None:
    policy = RecordingCheck()
    with listening(echo) as server, guard(policy) as gate:
        with through(gate, server.port) as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
        assert gate.refused == ()
    assert policy.calls == [("127.0.0.1", server.port, ipaddress.ip_address("127.0.0.1"))]


def test_refused_destination_is_not_connected_and_logged_once(
    nothing_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "efss_transfer.egress.proxy")
    with listening(echo) as server, guard(allow_none) as gate:
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
def test_address_types_of_socks_are_accepted(host: str) -> None:
    policy = RecordingCheck()
    with guard(policy) as gate, connect(gate) as client:
        ask(client, literal(host, 9))
    ((asked, port, address),) = policy.calls
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
def test_every_spelling_of_an_address_is_checked(written: str) -> None:
    policy = RecordingCheck("127.0.0.1")
    with listening(echo, "0.0.0.0") as server, guard(policy) as gate:
        assert reply_to(gate, written, server.port) == 2
        refused = f"[{written}]" if ":" in written else written
        assert list(gate.refused) == [f"{refused}:{server.port}"]
    assert policy.calls == [(written, server.port, ipaddress.ip_address("127.0.0.1"))]
    assert server.reached == []


def test_ipv4_mapped_address_is_dialed_as_ipv4() -> None:
    with listening(echo) as server, guard(RecordingCheck()) as gate, connect(gate) as client:
        assert ask(client, literal("::ffff:127.0.0.1", server.port)) == 0
    assert server.reached == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["Storage.Test.", "STORAGE.TEST", "storage.test."])
def test_names_are_checked_in_lower_case_without_a_trailing_dot(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, lambda _: ["127.0.0.1"])
    policy = RecordingCheck("127.0.0.1")
    with guard(policy) as gate:
        assert reply_to(gate, host, 9) == 2
        assert list(gate.refused) == [f"{host}:9"]
    assert {asked for asked, _, _ in policy.calls} == {"storage.test"}


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
def test_invalid_name_is_refused_without_a_lookup(
    name: bytes, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_: looked_up.append(asked))
    with guard(allow_all) as gate:
        assert reply_to(gate, name, 80) == 2
        assert list(gate.refused) == [f"{shown}:80"]
    assert looked_up == []


def test_name_of_an_address_with_a_zone_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve(monkeypatch, lambda _: ["fe80::1%1"])
    with guard(allow_all) as gate:
        assert reply_to(gate, "router.test", 80) == 2


def test_list_of_refusals_is_limited() -> None:
    with guard(allow_none) as gate:
        for number in range(110):
            assert reply_to(gate, f"127.0.0.{number}", 80) == 2
        assert reply_to(gate, "1" * 255, 80) in {2, 4}
        assert list(gate.refused) == [f"127.0.0.{number}:80" for number in range(100)]
    with guard(allow_all) as gate:
        assert reply_to(gate, b"\x80" * 255, 80) == 2
        assert [len(entry) for entry in gate.refused] == [253 + len(":80")]


def test_failing_check_permits_nothing(
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


# Replies


def test_closed_port_is_reported_as_connection_refused(nothing_left: None) -> None:
    with guard(allow_all) as gate:
        assert reply_to(gate, "127.0.0.1", CLOSED_PORT) == 5
        assert gate.refused == ()


def test_unresponsive_server_is_reported_as_a_timeout(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_ADDRESS_SECONDS", 0.2)
    with ExitStack() as undo:
        # Its backlog is full, so it does not accept further connections.
        deaf = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = undo.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        gate = undo.enter_context(guard(allow_all))
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
def test_reply_says_why_a_connection_failed(
    number: int, reply: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError(number, "a text")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", fail)
    with guard(allow_all) as gate:
        assert reply_to(gate, "127.0.0.1", 80) == reply


# Users


def test_each_user_has_a_check_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, lambda _: ["127.0.0.1"])
    checks = {"source": RecordingCheck(), "destination": RecordingCheck("127.0.0.1")}
    with listening(echo) as server, guard(allow_none, checks) as gate:
        for user, answer in (("source", 0), ("destination", 2), (ANYBODY, 2)):
            for host in ("127.0.0.1", "storage.test"):
                with connect(gate) as client:
                    client.sendall(METHOD + password(user) + request(host, server.port))
                    assert read(client, 6)[5] == answer
    # Its thread has accepted every connection only once it has ended.
    assert len(server.reached) == 2
    assert checks["source"].calls == checks["destination"].calls


def test_client_without_the_secret_gets_no_connection_and_is_logged_once(
    nothing_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "efss_transfer.egress.proxy")
    policy = RecordingCheck()
    with listening(echo) as server, guard(policy) as gate:
        asked = request("127.0.0.1", server.port)
        for greeting in (
            b"\x05\x01\x00",
            METHOD + password(secret="0" * 32),
            METHOD + password("nobody"),
        ):
            with connect(gate) as client:
                with suppress(OSError):
                    client.sendall(greeting + asked)
                with suppress(ConnectionResetError):
                    assert read_all(client)[-1] in (1, 0xFF)
        assert policy.calls == []
        assert serves(gate)
        assert gate.refused == ()
    assert server.reached == []
    assert [record.getMessage() for record in caplog.records] == [
        "refused a local client of the egress guard that is not its engine"
    ]
    assert SECRET not in caplog.text


def test_admitted_process_needs_no_secret() -> None:
    with listening(echo) as server, guard(allow_none, {"source": allow_all}) as gate:
        gate.access.admit_process(os.getpid(), "source")
        with connect(gate) as client:
            client.sendall(b"\x05\x01\x00" + request("127.0.0.1", server.port))
            assert read(client, 4) == b"\x05\x00\x05\x00"


# Lifetime


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_closing_breaks_all_connections(
    error: type[Exception] | None, relay_mode: str, nothing_left: None
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
        with suppress(ZeroDivisionError), guard(allow_all) as gate:
            for asked in (b"", GREETING[:1], GREETING):
                connections.append(clients.enter_context(connect(gate)))
                connections[-1].sendall(asked)
            connections += [clients.enter_context(through(gate, server.port)) for _ in range(20)]
            assert read(connections[-1], 10 * MIB) == bytes(10 * MIB)
            # Some clients disconnect first.
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


def test_unused_guard_leaves_nothing_behind(nothing_left: None) -> None:
    for _ in range(20):
        with guard(allow_all):
            pass


def test_guards_are_independent(nothing_left: None) -> None:
    with guard(allow_all) as one, guard(allow_none) as other, listening(echo) as server:
        assert one.port != other.port
        assert reply_to(other, "127.0.0.1", server.port) == 2
        with guard(allow_none):
            pass
        assert serves(one)


def test_guard_runs_work_for_another_thread_and_ends_it_when_it_closes(nothing_left: None) -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 7

    async def fail() -> int:
        raise KeyError("x")

    with guard(allow_all) as gate:
        assert gate.start(answer).result(PATIENCE) == 7
        with pytest.raises(KeyError):
            gate.start(fail).result(PATIENCE)
        endless = gate.start(asyncio.Event().wait)
    with pytest.raises(CancelledError):
        endless.result(PATIENCE)


def test_guards_share_few_threads(nothing_left: None) -> None:
    most = event_loops.useful_loop_count()
    assert most < len(os.sched_getaffinity(0)) or most == 1
    with ExitStack() as undo:
        server = undo.enter_context(listening(echo))
        gates = [undo.enter_context(guard(allow_all)) for _ in range(16)]
        assert len(loop_threads()) == most
        assert all(serves(gate) for gate in gates)
        # A closed guard breaks its own connections and no others.
        other = undo.enter_context(through(gates[0], server.port))
        with guard(allow_all) as left, through(left, server.port) as own:
            pass
        with own, pytest.raises(ConnectionRefusedError):
            connect(left)
        other.sendall(b"x")
        assert read(other, 1) == b"x"
    assert loop_threads() == []


def test_guard_pauses_without_descriptors_and_then_continues(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full, failed = socket.socket.accept, threading.Event(), threading.Event()

    def accept(self: socket.socket) -> Any:
        if full.is_set() and threading.current_thread().name == "egress":
            failed.set()
            raise OSError(errno.EMFILE, "out of descriptors")
        return real(self)

    with listening(echo) as server, guard(allow_all) as gate, through(gate, server.port) as old:
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


def test_waiting_connections_use_no_processor_time(nothing_left: None, relay_mode: str) -> None:
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
        gate = undo.enter_context(guard(allow_all))
        quiet = undo.enter_context(listening(silent))
        loud = undo.enter_context(listening(flood))
        undo.enter_context(connect(gate))  # a handshake that has not begun
        undo.enter_context(through(gate, quiet.port))  # nothing to say
        half = undo.enter_context(through(gate, quiet.port))  # half closed
        half.shutdown(socket.SHUT_WR)
        # Blocked, with all data and the end of the stream already received; then half
        # closed from the other end as well.
        blocked = undo.enter_context(through(gate, loud.port))
        assert full.wait(PATIENCE)
        assert idle()
        blocked.shutdown(socket.SHUT_WR)
        assert idle()
        assert len(read_all(blocked)) > 0
        # The client is closed, and the server is not.
        undo.enter_context(through(gate, quiet.port)).close()
        assert idle()
