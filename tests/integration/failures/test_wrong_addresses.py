"""A port where nothing listens, TLS where there is none, a host that does not exist."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.outcomes import checked_result
from support.service_process import Function
from support.storages import CLOSED_PORT, Storage, password

HOST = "no-such-host.invalid"


def end(kind: str, host: str, port: int, scheme: str = "http") -> dict[str, Any]:
    """An endpoint of a type at an address."""
    url = f"{scheme}://{host}:{port}"
    keys = {"access_key_id": f"AK{password()}", "secret_access_key": password()}
    known: dict[str, dict[str, Any]] = {
        "webdav": {"url": url, "vendor": "other"},
        "http": {"url": url},
        "s3": {"provider": "Other", "endpoint": url, **keys},
        "sftp": {"host": host, "port": port, "user": "alice", "pass": password()},
        "ftp": {"host": host, "port": port, "user": "alice", "pass": password()},
    }
    path = {"s3": "bucket/data", "http": "data/"}.get(kind, "data")
    return {"type": kind, "parameters": known[kind], "path": path}


def fails(
    function: Function, wrong: dict[str, Any], right: Storage, side: str, attempts: int
) -> str:
    """Copy from or to a wrong address; the message of the one error."""
    folder = uuid.uuid4().hex
    right.fill(folder, {"a.txt": b"1"})
    ends = (wrong, right.endpoint(f"to-{folder}"))
    if side == "destination":
        ends = (right.endpoint(folder), wrong)
    began = time.monotonic()
    answer = function.copy(*ends)
    assert time.monotonic() - began < 30  # three attempts; rclone's own default takes minutes
    assert (answer.status_code, answer.json()["code"]) == (502, "storage_unreachable"), answer.text
    result = checked_result(answer)
    assert result["attempts"] == attempts
    (error,) = result["errors"]
    assert error["side"] == side
    assert error["retryable"] is (attempts > 1)
    message: str = error["samples"][0]["message"]
    return message


@pytest.mark.field_case("I8")
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("kind", ["webdav", "s3", "sftp", "ftp"])
def test_port_where_nothing_listens_is_named(
    kind: str, side: str, function: Function, webdav: Storage
) -> None:
    message = fails(function, end(kind, "127.0.0.1", CLOSED_PORT), webdav, side, 3)
    assert f"127.0.0.1:{CLOSED_PORT}" in message
    assert "connection refused" in message


@pytest.mark.field_case("I8")
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("kind", ["webdav", "s3", "sftp", "ftp"])
def test_host_that_does_not_exist_is_named(
    kind: str, side: str, function: Function, webdav: Storage
) -> None:
    message = fails(function, end(kind, HOST, 80), webdav, side, 1)
    assert HOST in message
    assert "no such host" in message


@pytest.mark.field_case("I8", variant="https at a port without TLS")
@pytest.mark.parametrize("kind", ["webdav", "s3", "http"])
def test_server_without_tls_is_named(
    kind: str, function: Function, storages: dict[str, Storage]
) -> None:
    # Not the server of the other end, which would be one storage at two addresses.
    port = urlsplit(storages["rclone"].parameters["url"]).port or 0
    wrong = end(kind, "127.0.0.1", port, "https")
    message = fails(function, wrong, storages["wsgidav"], "source", 1)
    assert "does not speak TLS" in message
    assert str(port) in message
