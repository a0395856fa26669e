"""The real rclone, between real storages, connects only through the guard."""

from __future__ import annotations

import http.server
import json
import random
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.egress.proxy import ANYBODY, Guard
from support import http_servers
from support.socks import (
    MIB,
    PATIENCE,
    RecordingCheck,
    guard,
    listening,
    read,
    read_all,
    resolve,
)
from support.storages import Storage


class Rclone:
    """The real rclone, configured to connect through a guard."""

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
                options["socks_proxy"] = f"{gate.login(ANYBODY)}@127.0.0.1:{gate.port}"
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
                f"--http-proxy=socks5://{gate.login(ANYBODY)}@127.0.0.1:{gate.port}",
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

    policy = RecordingCheck()
    with guard(policy) as gate:
        origin, target = one.endpoint(folder), other.endpoint(folder)
        done = run(
            gate, "copy", f"src:{origin['path']}", f"dst:{target['path']}", src=origin, dst=target
        )
    assert done.returncode == 0, done.stderr
    assert other.hashes(target["path"]) == files_written
    assert {port_of(one), port_of(other)} <= policy.ports
    # FTP opens a connection to a new port for each file.
    assert len(policy.ports) > 2 or "ftp" not in (source, destination)
    assert {str(address) for _, _, address in policy.calls} == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["rclone", "s3", "sftp", "ftp"])
def test_rclone_cannot_connect_where_not_permitted(
    name: str, run: Rclone, storages: dict[str, Storage]
) -> None:
    storage = storages[name]
    with guard(RecordingCheck(port_of(storage))) as gate:
        endpoint = storage.endpoint()
        done = run(gate, "lsf", f"src:{endpoint['path']}", src=endpoint)
        assert list(gate.refused) == [f"127.0.0.1:{port_of(storage)}"]
    assert done.returncode != 0
    assert "connection not allowed by ruleset" in done.stderr


@pytest.mark.parametrize("permitted", [False, True])
def test_redirect_is_followed_only_where_permitted(
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
        policy = RecordingCheck() if permitted else RecordingCheck(inner.port)
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


def test_rclone_leaves_name_lookups_to_the_guard(
    run: Rclone, storages: dict[str, Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storages["rclone"]
    storage.fill("egress-name", {"file": b"content"})
    url = f"http://Storage.Test:{port_of(storage)}"
    answers = ["127.0.0.1"]
    resolve(monkeypatch, lambda _: answers)
    policy = RecordingCheck("127.0.0.2")
    with guard(policy) as gate:
        endpoint = storage.endpoint(url=url)
        listed = run(gate, "lsf", "src:egress-name", src=endpoint)
        assert listed.stdout == "file\n", listed.stderr
        answers[:] = ["127.0.0.2"]
        again = run(gate, "lsf", "src:egress-name", src=endpoint)
        assert again.returncode != 0
        assert list(gate.refused) == [f"Storage.Test:{port_of(storage)}"]
    assert {host for host, _, _ in policy.calls} == {"storage.test"}
    errors = [json.loads(line)["msg"] for line in again.stderr.splitlines()]
    assert any("connection not allowed by ruleset" in error for error in errors)
