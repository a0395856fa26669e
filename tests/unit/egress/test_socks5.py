"""Clients that do not speak SOCKS 5, or speak it slowly."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from efss_transfer.egress import proxy
from support.socks import (
    GREETING,
    METHOD,
    SECRET,
    WELCOME,
    allow_all,
    connect,
    echo,
    guard,
    listening,
    password,
    read,
    read_all,
    request,
    serves,
)

# The bytes sent and the expected response. Where a response is expected, no byte follows the
# one that causes it, because closing with unread bytes would reset the connection.
MALFORMED = {
    "nothing": (b"", b""),
    "SOCKS 4": (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b""),
    "HTTP": (b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n", b""),
    "an HTTP proxy": (b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n", b""),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), b""),
    "zeros": (bytes(1000), b""),
    "half a greeting": (b"\x05", b""),
    "no methods": (b"\x05\x00", b"\x05\xff"),
    "no password offered": (b"\x05\x01\x00", b"\x05\xff"),
    "another method": (b"\x05\x02\x01\x80", b"\x05\xff"),
    "no password": (METHOD, b"\x05\x02"),
    "methods missing": (b"\x05\xff\x01\x02", b""),
    "half a password": (METHOD + password()[:-1], b"\x05\x02"),
    "another version of passwords": (METHOD + b"\x05\x06", b"\x05\x02"),
    "an empty password": (METHOD + b"\x01\x06either\x00", b"\x05\x02\x01\x01"),
    "a wrong password": (METHOD + password(secret="f" * 32), b"\x05\x02\x01\x01"),
    "the beginning of the password": (
        METHOD + password(secret=SECRET[:-1]),
        b"\x05\x02\x01\x01",
    ),
    "the password and more": (METHOD + password(secret=SECRET + "0"), b"\x05\x02\x01\x01"),
    "a wrong user": (METHOD + password("nobody"), b"\x05\x02\x01\x01"),
    "no user": (METHOD + password(""), b"\x05\x02\x01\x01"),
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


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_handshake_is_answered_or_closed(case: str, nothing_left: None) -> None:
    sent, answer = MALFORMED[case]
    if answer[-2:-1] == b"\x05" and len(answer) > 2:
        answer += b"\x00\x01" + bytes(6)
    with guard(allow_all) as gate:
        with connect(gate) as client:
            received = b""
            # The guard may disconnect before it has read everything.
            with suppress(OSError):
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while chunk := client.recv(100):
                    received += chunk
        assert answer.startswith(received)
        assert serves(gate)


@pytest.mark.parametrize("case", [case for case in MALFORMED if MALFORMED[case][1]])
def test_malformed_handshake_byte_by_byte_is_answered_before_closing(case: str) -> None:
    sent, answer = MALFORMED[case]
    with guard(allow_all) as gate, connect(gate) as client:
        for number, byte in enumerate(sent):
            client.sendall(bytes([byte]))
            if sent[: number + 1] == GREETING:
                assert read(client, len(WELCOME)) == WELCOME
        client.shutdown(socket.SHUT_WR)
        rest = read_all(client)
        assert (WELCOME + rest if sent.startswith(GREETING) else rest)[: len(answer)] == answer


def test_silent_client_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_HANDSHAKE_SECONDS", 0.2)
    with guard(allow_all) as gate:
        with connect(gate) as client:
            assert client.recv(1) == b""
        with connect(gate) as client:
            client.sendall(GREETING)
            assert read_all(client) == WELCOME


def test_request_may_arrive_byte_by_byte_or_with_early_data() -> None:
    with listening(echo) as server, guard(allow_all) as gate:
        whole = GREETING + request("localhost", server.port) + b"early"
        for size in (1, len(whole)):
            with connect(gate) as client:
                for start in range(0, len(whole), size):
                    client.sendall(whole[start : start + size])
                assert (
                    read(client, len(WELCOME) + 10 + 5)
                    == WELCOME + b"\x05\x00\x00\x01" + bytes(6) + b"early"
                )
