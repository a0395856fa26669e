"""However the daemon behaves, the caller gets a result in time, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from efss_transfer.config.settings import LONGEST_RUNTIME_DIR, Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.engine import RcloneEngine
from efss_transfer.engines.rclone.process import landlock
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event, Finished
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import State
from support.service_process import leftovers, wait_clean
from support.storages import ROOT, digest

REQUEST = TransferRequest(
    Endpoint("webdav", {"url": "http://127.0.0.1:1"}, "a"),
    Endpoint("webdav", {"url": "http://127.0.0.1:2"}, "b"),
)


@pytest.fixture(autouse=True)
def _no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel without it: the stub runs in Python, which the sandbox cannot read."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def stub(runtime: Path, behaviour: str) -> Path:
    binary = runtime.parent / behaviour
    source = (ROOT / "tests/support/stub_rclone.py").read_text("utf-8")
    binary.write_text(f"#!{sys.executable} -IS\n{source}", "utf-8")
    binary.chmod(0o755)
    return binary


def engine(runtime: Path, behaviour: str, boot_seconds: str = "2") -> RcloneEngine:
    binary = stub(runtime, behaviour)
    return RcloneEngine(
        Settings.read(
            {
                "EFSS_TRANSFER_RCLONE": str(binary),
                "EFSS_TRANSFER_RCLONE_SHA256": digest(binary.read_bytes()),
                "EFSS_TRANSFER_RUNTIME_DIR": str(runtime),
                "EFSS_TRANSFER_BOOT_SECONDS": boot_seconds,
                "EFSS_TRANSFER_STOP_SECONDS": "1",
            }
        )
    )


def run(rclone_engine: RcloneEngine, seconds: float = 60) -> list[Event]:
    return list(rclone_engine.run(REQUEST, Context(deadline=time.monotonic() + seconds)))


@pytest.mark.parametrize(
    ("behaviour", "seconds", "message"),
    [
        ("dies_at_boot", 2, "ended"),
        ("dies_at_first_call", 2, "ended"),
        ("dies_at_config", 2, "ended"),
        ("silent", 2 + 1, "did not respond within 2 s"),
        ("deaf_and_silent", 2 + 2, "did not respond within 2 s"),
        ("silent_at_config", 10 + 2, "did not respond within 10 s"),
        ("babbles", 2, "a response that is not valid"),
        ("old", 2, "1.75.0 or later is needed, but the configured rclone has version 1.60.0"),
    ],
)
def test_daemon_that_fails_before_the_copy_raises(
    runtime: Path, behaviour: str, seconds: float, message: str
) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match=message):
        run(engine(runtime, behaviour))
    assert time.monotonic() - began < 2 * seconds + 10  # on a machine that does much else
    assert leftovers(runtime) == []


def test_daemon_that_dies_during_the_copy_is_a_failed_result(runtime: Path) -> None:
    last = run(engine(runtime, "dies_at_copy"))[-1]
    assert isinstance(last, Finished)
    assert (last.result.state, last.result.code) == (State.FAILED, "engine_failed")
    assert last.result.retryable
    assert leftovers(runtime) == []


def test_daemon_that_never_ends_its_copy_is_stopped_at_the_deadline(runtime: Path) -> None:
    began = time.monotonic()
    last = run(engine(runtime, "silent_at_copy"), seconds=0.5)[-1]
    assert time.monotonic() - began < 10
    assert isinstance(last, Finished)
    assert last.result.state is State.INCOMPLETE
    assert leftovers(runtime) == []


def test_daemon_that_ignores_sigterm_is_killed(runtime: Path) -> None:
    began = time.monotonic()
    run(engine(runtime, "deaf"))
    assert 1 <= time.monotonic() - began < 10
    assert leftovers(runtime) == []


def test_log_that_is_not_json_does_not_block(runtime: Path) -> None:
    began = time.monotonic()
    # The stub writes its log before it responds, which takes seconds on a busy machine.
    assert isinstance(run(engine(runtime, "noisy", boot_seconds="8"))[-1], Finished)
    assert time.monotonic() - began < 20
    assert leftovers(runtime) == []


def test_run_that_is_closed_early_cleans_up(runtime: Path) -> None:
    events = engine(runtime, "silent_at_copy").run(REQUEST, Context(time.monotonic() + 60))
    assert type(next(events)).__name__ == "Started"
    assert leftovers(runtime) != []
    events.close()
    assert leftovers(runtime) == []


def test_thread_that_started_a_transfer_may_end_before_it(runtime: Path, rclone: Path) -> None:
    """PR_SET_PDEATHSIG would kill the daemon here: it is tied to the thread, not the process."""
    rclone_engine = engine(runtime, "well_behaved")
    events = rclone_engine.run(REQUEST, Context(time.monotonic() + 60))
    first: list[Event] = []
    thread = threading.Thread(target=lambda: first.append(next(events)))
    thread.start()
    thread.join()
    assert isinstance(list(events)[-1], Finished)


def test_no_zombie_process_is_left(runtime: Path) -> None:
    run(engine(runtime, "well_behaved"))
    states = [child.status() for child in psutil.Process().children()]
    assert psutil.STATUS_ZOMBIE not in states


def test_file_that_is_not_a_program_is_unusable(runtime: Path) -> None:
    binary = runtime.parent / "nonsense"
    binary.write_bytes(b"\x7fELF nonsense")
    binary.chmod(0o755)
    rclone_engine = RcloneEngine(
        Settings.read(
            {
                "EFSS_TRANSFER_RCLONE": str(binary),
                "EFSS_TRANSFER_RCLONE_SHA256": digest(binary.read_bytes()),
                "EFSS_TRANSFER_RUNTIME_DIR": str(runtime),
            }
        )
    )
    assert not rclone_engine.health().usable
    assert leftovers(runtime) == []


def test_longest_runtime_dir_has_room_for_a_socket(short: Path) -> None:
    deep = short / ("d" * (LONGEST_RUNTIME_DIR - len(os.fsencode(short)) - 1))
    deep.mkdir()
    *_, last = run(RcloneEngine(Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(deep)})))
    assert isinstance(last, Finished)
    assert last.result.code == "forbidden"  # by the guard, so rclone was up and tried to connect
    assert list(deep.iterdir()) == []


def test_lost_response_is_a_failed_result(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any error in the thread that waits for the copy."""
    post = RcClient._post

    def losing(rc: RcClient, call: str, parameters: Any, timeout: float | None) -> Any:
        if call == "sync/copy":
            raise KeyError("anything at all")
        return post(rc, call, parameters, timeout)

    monkeypatch.setattr(RcClient, "_post", losing)
    last = run(engine(runtime, "well_behaved"))[-1]
    assert isinstance(last, Finished)
    assert (last.result.state, last.result.code) == (State.FAILED, "engine_failed")
    assert leftovers(runtime) == []


OWNER = """
import os, socket, sys, time
from pathlib import Path
from efss_transfer.engines.rclone.process import daemon, landlock
from efss_transfer.config.settings import LONGEST_RUNTIME_DIR, Settings

landlock.abi = lambda: 0
with daemon.running_daemon(Path(sys.argv[1]), Settings.read(os.environ), lambda _: None) as booted:
    # It responds, so it ignores the signal by now.
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(booted.socket_path))
        client.sendall(b"POST /core/version HTTP/1.0\\r\\nContent-Length: 0\\r\\n\\r\\n")
        client.recv(1)
    print("up", flush=True)
    time.sleep(600)  # the process is killed long before
"""


def test_keeper_kills_daemon_that_ignores_sigterm_after_its_owner_was_killed(runtime: Path) -> None:
    binary = stub(runtime, "deaf")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(binary)],
        env={
            "PYTHONPATH": os.pathsep.join(sys.path),
            "EFSS_TRANSFER_RUNTIME_DIR": str(runtime),
            "EFSS_TRANSFER_STOP_SECONDS": "1",
        },
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert leftovers(runtime) != []
        owner.kill()
    wait_clean(runtime, 15)
