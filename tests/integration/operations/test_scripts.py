"""The scripts that a newcomer runs first, run the same way."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from support.storages import ROOT

SECONDS = 120
DEMO = str(ROOT / "scripts" / "demo")
RUN = str(ROOT / "scripts" / "run")
FAULTS = str(ROOT / "scripts" / "faults")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TMPDIR for the script. `tmp_path` is named after the test, which is too long for the
    unix sockets in it.
    """
    return tmp_path_factory.mktemp("scripts")


@contextmanager
def started(folder: Path, *command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A script that runs during the block, with a time limit."""
    ours = {name for name in os.environ if name.startswith("EFSS_TRANSFER_")} | {"THREADS"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    with subprocess.Popen(
        command,
        cwd=folder.parent,  # a script must not depend on the working directory
        env=inherited | {"TMPDIR": str(folder)} | options.pop("variables", {}),
        text=True,
        process_group=0,
        **options,
    ) as process:
        # A script that hangs would block its reader forever. SIGTERM and not SIGKILL, because
        # only the script can stop the servers that it has started.
        limit = threading.Timer(SECONDS, process.terminate)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    with started(
        folder,
        *command,
        variables=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def group_is_gone(process: subprocess.Popen[str]) -> bool:
    """Whether no process of its process group is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def users_of(folder: Path) -> list[str]:
    """Processes with the folder in arguments, working directory or environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(folder) in word for word in words):
                found.append(" ".join(words))
    return found


@pytest.mark.slow
def test_demo_json_summarizes_a_successful_run(folder: Path) -> None:
    shown = run(folder, DEMO, "--json")

    assert shown.returncode == 0, shown.stderr
    summary = json.loads(shown.stdout)
    assert summary["files"] == summary["second_run_skipped"] == 200
    assert 70_000_000 < summary["bytes"] < 90_000_000
    assert summary["identical"] is True
    assert summary["left_behind"] == []
    assert list(folder.iterdir()) == []
    assert users_of(folder) == []


def test_demo_in_a_pipe_prints_plain_lines(folder: Path) -> None:
    # Variables that many users have set and that must not disturb the demo.
    shown = run(folder, DEMO, http_proxy="http://127.0.0.1:1", DEBUG="*", FORCE_COLOR="1")

    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) < 60
    assert any(line.startswith("progress: 200 files") for line in lines)
    assert any(
        line.split("│")[1:3] == [" files transferred ", " 200 "] for line in map(tidy, lines)
    )
    assert any(line.startswith("Identical: 200 of 200 files") for line in lines)
    again = "Sent the same request again: 200 of 200 files skipped, because they are already there."
    assert again in lines
    assert lines[-2] == "Stopped all servers. Left behind: nothing."
    assert lines[-1] == "Next: copy between your own storages, see docs/tutorial.md."
    assert '"pass": "***"' in shown.stdout
    assert "canary" not in shown.stdout + shown.stderr
    assert "\x1b" not in shown.stdout, "a pipe is not a terminal"


def tidy(line: str) -> str:
    """A line of the table without its padding."""
    return " ".join(line.split())


@pytest.mark.slow
def test_demo_draws_bars_on_a_terminal(folder: Path) -> None:
    screen, end = pty.openpty()
    shown = b""
    try:
        with started(
            folder,
            DEMO,
            stdin=end,
            stdout=end,
            stderr=end,
            variables={"TERM": "xterm", "COLUMNS": "120"},
        ) as demo:
            os.close(end)
            # On Linux reading fails when the last writer has closed the terminal.
            with suppress(OSError):
                while part := os.read(screen, 1 << 16):
                    shown += part
            assert demo.wait(SECONDS) == 0, shown
    finally:
        os.close(screen)
    assert "files" in shown.decode()
    assert "━" in shown.decode()
    assert "Left behind: nothing." in shown.decode()


@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("Starting", signal.SIGTERM),
        ("progress:", signal.SIGINT),
        pytest.param("Starting", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("progress:", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("Comparing", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("Comparing", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_interrupted_demo_stops_everything(folder: Path, number: signal.Signals, at: str) -> None:
    with started(folder, DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        assert any(line.startswith(at) for line in demo.stdout)
        demo.send_signal(number)
        _, stderr = demo.communicate(timeout=60)

        assert demo.returncode == 128 + number
        assert stderr == "scripts/demo: interrupted; all servers have been stopped\n"
        assert list(folder.iterdir()) == []
        assert users_of(folder) == []


@pytest.mark.parametrize("script", [DEMO, RUN, FAULTS])
def test_help_has_an_example(folder: Path, script: str) -> None:
    shown = run(folder, script, "--help")

    assert shown.returncode == 0
    assert f"usage: scripts/{Path(script).name}" in shown.stdout
    assert "example" in shown.stdout


@pytest.mark.slow
def test_faults_counts_what_went_wrong(folder: Path) -> None:
    words = ("--points", "1", "--only", "rclone killed", "--generated", "0", "--json")
    shown = run(folder, FAULTS, *words)

    assert shown.returncode == 0, shown.stderr
    (row,) = json.loads(shown.stdout)["faults"].values()
    assert row.pop("runs") == 2
    assert set(row.values()) == {0}


@pytest.mark.parametrize(
    "words",
    [
        ("--prot", "9000"),
        ("9000",),
        ("--port",),
        ("--port", "http"),
        ("--port", "65536"),
        ("--host", ""),
        ("--host=unix",),
    ],
)
def test_run_refuses_invalid_arguments(folder: Path, words: tuple[str, ...]) -> None:
    shown = run(folder, RUN, *words)

    assert shown.returncode == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith("scripts/run: ")
    assert shown.stderr.endswith("see scripts/run --help\n")


def test_demo_refuses_unknown_arguments(folder: Path) -> None:
    shown = run(folder, DEMO, "--jsno")

    assert shown.returncode == 2
    assert "--jsno" in shown.stderr


@contextmanager
def serving(folder: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`scripts/run` on a free port, once it listens."""
    with started(
        folder,
        RUN,
        "--port=0",
        *words,
        variables=variables,
        stderr=subprocess.PIPE,
    ) as server:
        assert server.stderr is not None
        assert any("serving at http://127.0.0.1:" in line for line in server.stderr)
        yield server


def listening(process: subprocess.Popen[str]) -> set[tuple[str, int]]:
    """The addresses at which the process and its workers accept connections."""
    leader = psutil.Process(process.pid)
    return {
        (connection.laddr.ip, connection.laddr.port)
        for one in (leader, *leader.children(recursive=True))
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_run_serves_only_this_machine_and_stops_on_sigterm(folder: Path) -> None:
    with serving(folder, DEBUG="1", HOST="0.0.0.0") as server:
        [(host, port)] = listening(server)
        assert host == "127.0.0.1"
        answer = requests.get(f"http://{host}:{port}/healthz", timeout=60)
        assert answer.json()["status"] == "ok", answer.text

        server.terminate()

        assert server.wait(40) == 0
        assert group_is_gone(server)
        assert list(folder.iterdir()) == []
        assert users_of(folder) == []


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, "16"),
        ({"EFSS_TRANSFER_CONCURRENT_TRANSFERS": "20"}, "28"),
        ({"EFSS_TRANSFER_CONCURRENT_TRANSFERS": "08"}, "16"),
        ({"EFSS_TRANSFER_CONCURRENT_TRANSFERS": "20", "THREADS": "64"}, "64"),
    ],
)
def test_run_gives_the_server_spare_threads(
    folder: Path, variables: dict[str, str], threads: str
) -> None:
    with serving(folder, **variables) as server:
        assert psutil.Process(server.pid).environ()["THREADS"] == threads
        server.terminate()
        assert server.wait(40) == 0
