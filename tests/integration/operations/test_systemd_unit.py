"""`deploy/efss-transfer.service`: what systemd says of it, and that the function can bear it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support import http_servers, service_process
from support.nginx import tool, until
from support.service_process import Function
from support.storages import ROOT, Storage

DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "efss-transfer.service").read_text("utf-8")
FUNCTIONS_FRAMEWORK = str(Path(sys.executable).with_name("functions-framework"))
# In tenths; systemd calls what is below 2.0 safe enough to be "OK". Measured: 1.4.
MOST_EXPOSED = 15


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


@cache
def groups() -> dict[str, list[str]]:
    """What each of systemd's groups of system calls has: calls, and other groups."""
    told = subprocess.run(
        [tool("systemd-analyze"), "syscall-filter", "--no-pager"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = {}
    for line in told.stdout.splitlines():
        if line.startswith("@"):
            found[line] = []
        elif line.startswith(" ") and not line.strip().startswith("#"):
            found[list(found)[-1]].append(line.strip())
    return found


def calls(name: str) -> set[str]:
    """The system calls that a name or a group stands for."""
    if not name.startswith("@"):
        return {name}
    return set().union(*(calls(one) for one in groups()[name]))


def allowed() -> set[str]:
    """As systemd.exec(5) has it: the first line makes the list, each other adds or takes."""
    chosen = calls("@default")
    for line in values("SystemCallFilter"):
        takes = line.startswith("~")
        for name in line.removeprefix("~").split():
            chosen = chosen - calls(name) if takes else chosen | calls(name)
    return chosen


def test_systemd_can_read_both_units(tmp_path: Path) -> None:
    for name in ("efss-transfer.service", "efss-transfer.socket"):
        text = (DEPLOY / name).read_text("utf-8")
        # It looks whether the program is there.
        text = text.replace("/opt/efss-transfer/bin/functions-framework", "/bin/true")
        (tmp_path / name).write_text(text)
    checked = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    # It looks at all that these two need, and some of that may be missing where there is
    # no systemd; what is wrong with a line of these two names its file.
    assert not [line for line in checked.stderr.splitlines() if "efss-transfer" in line]


def test_it_is_not_exposed() -> None:
    checked = subprocess.run(
        [
            tool("systemd-analyze"),
            "security",
            "--no-pager",
            "--offline=true",
            f"--threshold={MOST_EXPOSED}",
            DEPLOY / "efss-transfer.service",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Overall exposure level" in checked.stdout


def test_it_stops_no_sooner_than_transfers_can_end() -> None:
    [stop] = values("TimeoutStopSec")
    assert int(stop) > 30  # gunicorn's graceful_timeout, which functions-framework leaves alone
    assert values("KillMode") == ["mixed"]


def test_its_threads_are_enough_for_the_site_to_begin_with() -> None:
    [threads] = re.findall(r"^Environment=THREADS=(\d+)$", UNIT, re.MULTILINE)
    site = json.loads((DEPLOY / "site.example.json").read_text("utf-8"))
    assert int(threads) == site["limits"]["concurrent_transfers"] + 8


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """Where systemd would listen for what a service tells of itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path_factory.mktemp("n") / "notify"))
        yield listener


@pytest.fixture(scope="module")
def confined(told: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("u")
    (folder / "run").mkdir()
    [families] = values("RestrictAddressFamilies")
    filters = json.dumps(
        {
            "allowed": sorted(allowed()),
            "families": [getattr(socket, name) for name in families.split()],
        }
    )
    confine = (sys.executable, str(ROOT / "tests" / "support" / "confined.py"), filters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", told.getsockname())
        with service_process.function(
            folder / "run", command=(*confine, FUNCTIONS_FRAMEWORK)
        ) as running:
            yield running


def measures(running: Function) -> Any:
    health = running.get("/healthz").json()
    assert health["status"] == "ok"
    return health["engines"]["rclone"]


def test_rclone_is_confined_there_as_elsewhere(confined: Function, function: Function) -> None:
    assert measures(confined) == measures(function)


def test_a_copy_is_made_there(
    confined: Function, told: socket.socket, webdav: Storage, s3: Storage
) -> None:
    files = webdav.fill("unit", {f"{n}.bin": bytes([n]) * 3000 for n in range(20)})
    answer = confined.copy(
        webdav.endpoint("unit"), s3.endpoint("unit"), options={"verify": "checksum"}
    )
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/unit") == files
    confined.wait_clean()
    told.settimeout(10)
    assert b"READY=1" in told.recv(4096)
    # Two filters at least: those are ours, and each rclone adds its own.
    for process in confined.family():
        assert "Seccomp:\t2" in Path(f"/proc/{process.pid}/status").read_text()


def test_a_name_is_found_without_netlink(confined: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("named", {"a": b"a"})
    url = str(webdav.parameters["url"]).replace("127.0.0.1", "localhost")
    answer = confined.copy(webdav.endpoint("named", url=url), s3.endpoint("named"))
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_when_it_is_stopped_transfers_are_incomplete(confined: Function, s3: Storage) -> None:
    answers: list[Any] = []
    with http_servers.slow_source(50 << 20, 100_000) as source:

        def ask() -> None:
            answers.append(confined.copy(source.endpoint("data"), s3.endpoint("stopped")))

        asking = threading.Thread(target=ask)
        asking.start()
        running = "efss_transfer_running_transfers 1.0"
        until(lambda: running in confined.get("/metrics").text)
        # As KillMode=mixed has it: to the first process alone.
        confined.process.send_signal(signal.SIGTERM)
        asking.join(40)
    assert confined.process.wait(40) == 0
    [answer] = answers
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete")
    confined.wait_clean()
