"""Which clients the guard serves: by its secret, or by the process that they are."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from efss_transfer.egress.access import Access, owns_connection


@pytest.fixture
def access() -> Access:
    return Access(("source", "destination"))


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_each_guard_has_a_long_secret_of_its_own() -> None:
    secrets = {Access(()).secret for _ in range(20)}
    assert len(secrets) == 20
    assert {len(secret) for secret in secrets} == {32}


@pytest.mark.parametrize("name", ["source", "destination"])
def test_user_with_the_secret_is_admitted(access: Access, name: str) -> None:
    assert access.user(name.encode(), access.secret.encode()) == name
    assert access.basic_user(basic(f"{name}:{access.secret}")) == name
    assert access.basic_user(f" bASIC {basic(f'{name}:{access.secret}')[6:]} ") == name


def test_any_other_name_or_password_is_refused(access: Access) -> None:
    secret = access.secret
    for name, password in (
        ("source", ""),
        ("source", secret[:-1]),
        ("source", secret + "0"),
        ("source", secret.upper() + "0"),
        ("source", Access(()).secret),
        ("sourc", secret),
        ("SOURCE", secret),
        ("", secret),
        ("source\0", secret),
    ):
        assert access.user(name.encode(), password.encode()) is None
        assert access.basic_user(basic(f"{name}:{password}")) is None


def test_malformed_authorization_is_refused(access: Access) -> None:
    pair = f"source:{access.secret}"
    for value in (
        "",
        "Basic",
        "Basic ",
        pair,
        f"Basic {pair}",
        f"Bearer {basic(pair)[6:]}",
        f"{basic(pair)}!",
        f"Basic \xff{basic(pair)[6:]}",
        basic(access.secret),
        basic(f"{access.secret}:source"),
    ):
        assert access.basic_user(value) is None


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's end of a loopback connection, and its server's end."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        server, _ = listener.accept()
        with server:
            yield client, server


_CONNECT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.recv(1)
"""


def test_process_is_known_by_its_end_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with subprocess.Popen([sys.executable, "-S", "-c", _CONNECT, port]) as other:
            server, _ = listener.accept()
            with server:
                assert owns_connection(other.pid, server)
                assert not owns_connection(os.getpid(), server)
    with connected() as (client, server):
        assert owns_connection(os.getpid(), server)
        assert not owns_connection(other.pid, server)  # that process has ended
        client.close()
        assert not owns_connection(os.getpid(), server)


def test_stranger_is_admitted_only_as_the_process_that_was_named(access: Access) -> None:
    with connected() as (_, server):
        assert access.stranger(server) is None
        access.admit_process(os.getpid(), "source")
        assert access.stranger(server) == "source"
        access.admit_process(os.getppid(), "source")
        assert access.stranger(server) is None
