"""Names are resolved once, and only checked addresses are connected to."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from efss_transfer.egress import dialer
from support.socks import (
    GREETING,
    PATIENCE,
    WELCOME,
    RecordingCheck,
    allow_all,
    allow_none,
    connect,
    echo,
    eventually,
    guard,
    idle,
    listening,
    read,
    read_all,
    reply_to,
    request,
    resolve,
    serves,
    through,
)


def test_only_a_checked_address_is_connected(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []

    def rebinding(host: str) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["127.0.0.2"]

    resolve(monkeypatch, rebinding)
    policy = RecordingCheck("127.0.0.2")
    # The server listens on all addresses, and records which one was used.
    with listening(echo, "0.0.0.0") as server, guard(policy) as gate:
        with through(gate, server.port, "storage.test") as client:
            client.sendall(b"x")
            assert read(client, 1) == b"x"
        assert len(lookups) == 1, "the second look-up is the one that lies"
        assert reply_to(gate, "storage.test", server.port) == 2
        assert list(gate.refused) == [f"storage.test:{server.port}"]
    assert server.reached == ["127.0.0.1"]


def test_only_permitted_addresses_are_tried(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, lambda _: ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.3"])
    policy = RecordingCheck("127.0.0.2", "127.0.0.4")
    with listening(echo, "0.0.0.0") as server, guard(policy) as gate:
        with through(gate, server.port, "storage.test"):
            pass
        assert gate.refused == ()
    assert server.reached == ["127.0.0.3"]
    assert [str(address) for _, _, address in policy.calls] == [
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.4",
    ]


def test_unreachable_address_is_followed_by_the_next(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens on the first two.
    resolve(monkeypatch, lambda _: ["127.0.0.2", "::1", "127.0.0.1"])
    with (
        listening(echo) as server,
        guard(allow_all) as gate,
        through(gate, server.port, "storage.test") as client,
    ):
        client.sendall(b"x")
        assert read(client, 1) == b"x"


@pytest.mark.parametrize("host", ["nowhere.test", "a" * 64 + ".test", "a..test", "." * 200])
def test_name_without_an_address_is_unreachable(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(host: str) -> list[str]:
        host.encode("idna")  # as the real one does
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve(monkeypatch, none)
    with guard(allow_none) as gate:
        assert reply_to(gate, host, 80) == 4
        assert gate.refused == ()
        with listening(echo) as server:
            assert reply_to(gate, "127.0.0.1", server.port) == 2


def test_closing_does_not_wait_for_a_hanging_lookup(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, released = threading.Event(), threading.Event()

    def hang(_: str) -> list[str]:
        hanging.set()
        assert released.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, hang)
    policy = RecordingCheck()
    with listening(echo) as server:
        with guard(policy) as gate:
            client = connect(gate)
            client.sendall(GREETING + request("storage.test", server.port))
            assert hanging.wait(PATIENCE)
            assert serves(gate), "others must not wait for it"
        with client:
            assert read_all(client) == WELCOME
        assert not released.is_set()
        released.set()
        assert eventually(
            lambda: not [t for t in threading.enumerate() if t.name == "egress-lookup"]
        )
    assert server.reached == []


def test_hanging_lookup_times_out(nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", 0.1)
    released = threading.Event()

    def hang(_: str) -> list[str]:
        assert released.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, hang)
    with guard(allow_all) as gate:
        assert reply_to(gate, "storage.test", 80) == 4
        released.set()


def test_simultaneous_lookups_are_limited(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", PATIENCE)
    lock, running, most = threading.Lock(), 0, 0
    full, released = threading.Event(), threading.Event()

    def counted(_: str) -> list[str]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 64:
                full.set()
        assert released.wait(PATIENCE)
        with lock:
            running -= 1
        return ["127.0.0.1"]

    resolve(monkeypatch, counted)
    with listening(echo) as server, guard(allow_all) as gate, ExitStack() as clients:
        waiting = [clients.enter_context(connect(gate)) for _ in range(100)]
        for number, client in enumerate(waiting):
            client.sendall(GREETING + request(f"storage{number}.test", server.port))
        assert full.wait(PATIENCE)
        assert idle(), "it waits for a place without trying again and again"
        released.set()
        for client in waiting:
            assert read(client, 6) == WELCOME + b"\x05\x00"
    assert most == 64


def test_simultaneous_requests_for_a_name_share_one_lookup(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, asked = threading.Event(), []

    def counted(name: str) -> list[str]:
        asked.append(name)
        assert released.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, counted)
    policy = RecordingCheck()
    with listening(echo) as server, guard(policy) as gate, ExitStack() as clients:
        waiting = [clients.enter_context(connect(gate)) for _ in range(50)]
        for client in waiting:
            client.sendall(GREETING + request("storage.test", server.port))
        for client in waiting:
            assert read(client, len(WELCOME)) == WELCOME
        assert idle(), "all of them wait for the one look-up"
        released.set()
        for client in waiting:
            assert read(client, 2) == b"\x05\x00"
        assert asked == ["storage.test"]
        # The result is not cached: a later request looks the name up again.
        assert reply_to(gate, "storage.test", server.port) == 0
        assert len(asked) == 2


def test_later_request_does_not_join_a_lookup_that_timed_out(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", 0.3)
    released, asked = threading.Event(), []

    def hangs_once(name: str) -> list[str]:
        asked.append(name)
        if len(asked) == 1:
            assert released.wait(PATIENCE)
        return ["127.0.0.1"]

    resolve(monkeypatch, hangs_once)
    with listening(echo) as server, guard(allow_all) as gate:
        assert reply_to(gate, "storage.test", server.port) == 4
        monkeypatch.setattr(dialer, "_LOOKUP_SECONDS", PATIENCE)
        assert reply_to(gate, "storage.test", server.port) == 0
        released.set()


def test_address_is_not_looked_up(nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(*_: Any, **__: Any) -> Any:
        raise AssertionError("an address was looked up")

    with listening(echo) as server, guard(allow_all) as gate:
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        assert reply_to(gate, "127.0.0.1", server.port) == 0
