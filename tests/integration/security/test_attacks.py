"""Attacks, through the HTTP door, on a function that has no site file.

tests/support/attacks.json has those that somebody thought of; those by the options that rclone has
and no request may set are made from the list of them. Each is refused by our own checks: no
transfer begins, nobody is connected to, no file is made.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from efss_transfer.contract.schemas import schema
from support import service_process
from support.contract import complaints
from support.service_process import Function
from support.ssrf_spellings import SPELLINGS, TRICKS
from support.storages import ROOT

PWNED: Final = Path("/tmp/pwned")  # noqa: S108 - what an attack would leave
ATTACKS: Final = json.loads((ROOT / "tests" / "support" / "attacks.json").read_text("utf-8"))
DECIDED: Final = json.loads(
    (ROOT / "functions/efss_transfer/engines/rclone/rc/options.json").read_text("utf-8")
)
# What an option can do that no request may ask for.
DANGEROUS: Final = {
    "ambient_creds",
    "config_state",
    "exec_local",
    "exec_remote",
    "header_injection",
    "local_disk",
    "local_file_read",
    "local_file_write",
    "local_unix_socket",
    "override",
    "tls_off",
    "type_override",
    "wraps_remote",
}
TYPES: Final = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
FTP: Final = {
    "type": "ftp",
    "parameters": {"host": "8.8.8.8", "user": "u", "pass": "p"},
    "path": "b",
}


@dataclass
class Door:
    """The function, and a port of this machine's that nobody may connect to."""

    function: Function
    listener: socket.socket

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def refuse(self, request: Any, status: set[int], pointers: list[str]) -> dict[str, Any]:
        """Send a request, which must be refused for these members."""
        text = json.dumps(request).replace("PORT", str(self.port))
        answer = self.function.post(text.encode())
        assert answer.status_code in status, answer.text
        problem: dict[str, Any] = answer.json()
        assert complaints("problem", problem) == []
        assert problem["code"] == {400: "invalid_request", 403: "forbidden"}[answer.status_code]
        assert {error["pointer"] for error in problem["errors"]} == set(pointers)
        return problem


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    assert not PWNED.exists()
    runtime = tmp_path_factory.mktemp("attacked")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        service_process.function(runtime, site=None) as running,
    ):
        yield Door(running, listener)
        # All of it is looked at once more: a connection or a file may come late.
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert not PWNED.exists()
        assert "transfer" not in running.log.read_text().replace("efss_transfer", "")


@pytest.fixture
def door(watched: Door) -> Iterator[Door]:
    yield watched
    watched.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        watched.listener.accept()
    assert list(watched.function.runtime_dir.iterdir()) == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: ascii(attack["attack"]))
def test_an_attack_is_refused_and_the_member_is_named(door: Door, attack: Any) -> None:
    problem = door.refuse(attack["request"], {attack["status"]}, attack["pointers"])
    assert problem["code"] == attack["code"]


def dangerous() -> list[tuple[str, str]]:
    """Every option of every backend that can do what no request may ask for."""
    return [
        (backend, option)
        for backend, decided in DECIDED["backends"].items()
        for option, it in decided["options"].items()
        if set(it.get("risk", ())) & DANGEROUS and it["decision"] == "refuse"
    ]


def sample(kind: str) -> dict[str, Any]:
    """Parameters that fit a type of storage."""
    definition = schema("request")["$defs"][kind.replace(" ", "_") + "_parameters"]
    parameters: dict[str, Any] = dict(definition["examples"][0])
    return parameters


@pytest.mark.parametrize(("backend", "option"), dangerous())
def test_no_dangerous_option_gets_through(door: Door, backend: str, option: str) -> None:
    if backend not in TYPES:
        end = {"type": backend, "parameters": {option: "x"}, "path": "a"}
        door.refuse({"source": end, "destination": FTP}, {400}, ["/source/type"])
        return
    for value in ("touch /tmp/pwned", True, 1):
        end = {"type": backend, "parameters": {**sample(backend), option: value}, "path": "a"}
        pointers = [f"/source/parameters/{option}"]
        door.refuse({"source": end, "destination": FTP}, {400}, pointers)


def test_there_are_dangerous_options() -> None:
    assert len(dangerous()) > 50


@pytest.mark.parametrize("backend", DECIDED["backends"])
def test_a_backend_is_allowed_or_refused(door: Door, backend: str) -> None:
    if backend in TYPES:
        return
    end = {"type": backend, "parameters": {}, "path": "/etc"}
    door.refuse({"source": end, "destination": FTP}, {400}, ["/source/type"])
    door.refuse({"source": FTP, "destination": end}, {400}, ["/destination/type"])


@pytest.mark.parametrize("text", [*SPELLINGS, *TRICKS])
def test_no_spelling_of_a_host_inside_is_dialled(door: Door, text: str) -> None:
    url = {"type": "webdav", "parameters": {"url": f"http://{text}:PORT/"}, "path": "a"}
    door.refuse({"source": url, "destination": FTP}, {400, 403}, ["/source/parameters/url"])
    host = {
        "type": "sftp",
        "parameters": {"host": text, "port": door.port, "user": "u", "pass": "p"},
        "path": "a",
    }
    door.refuse({"source": FTP, "destination": host}, {400, 403}, ["/destination/parameters/host"])


def test_a_name_that_leads_inside_is_refused(door: Door) -> None:
    end = {"type": "webdav", "parameters": {"url": "http://localhost:PORT/"}, "path": "a"}
    problem = door.refuse({"source": end, "destination": FTP}, {403}, ["/source/parameters/url"])
    assert "address is not public" in problem["errors"][0]["message"]
