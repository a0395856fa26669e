"""Ctrl-C, signals and closed pipes cancel the copy, and the service cleans up."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from support import http_servers, service_process
from support.cli_user import PROGRAM, User
from support.service_process import Function
from support.storages import Storage
from support.terminal import CTRL_C


@pytest.mark.parametrize(
    ("where", "way"),
    [
        ("service", "terminal"),
        pytest.param("service", "SIGINT", marks=pytest.mark.slow),
        pytest.param("service", "SIGTERM", marks=pytest.mark.slow),
        pytest.param("local", "terminal", marks=pytest.mark.slow),
        pytest.param("local", "SIGINT", marks=pytest.mark.slow),
        pytest.param("local", "SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_interrupted_copy_is_cancelled(
    user: User, function: Function, tmp_path: Path, s3: Storage, name: str, where: str, way: str
) -> None:
    runtime = function.runtime_dir
    words = ["copy", "slow:data", f"archive:{name}"]
    if where == "local":
        runtime = user.copy_in_process(tmp_path)
        words.append("--local")
    with http_servers.slow_source(20_000_000, 200_000) as slow:
        user.write_endpoints(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        if way == "terminal":
            with user.in_terminal(*words) as screen:
                screen.wait_for("KiB of 19.1 MiB")
                screen.press(CTRL_C)
                assert screen.end(20) == 130
            text = screen.text
        else:
            with user.started(*words, "--json") as process:
                assert process.stdout is not None
                while '"event":"progress"' not in (line := process.stdout.readline()):
                    assert line, "it ended before there was any progress"
                process.send_signal(signal.Signals[way])
                text = process.stdout.read()
                assert process.wait(20) == {"SIGINT": 130, "SIGTERM": 143}[way]
        service_process.wait_clean(runtime, 10)
    assert "ancelled" in text
    assert "Traceback" not in text
    assert s3.hashes(f"bucket/{name}") == {}


@pytest.mark.slow
def test_closed_pipe_cancels_the_copy(
    user: User, function: Function, s3: Storage, name: str
) -> None:
    with http_servers.slow_source(20_000_000, 200_000) as slow:
        user.write_endpoints(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        done = subprocess.run(
            [
                "/bin/sh",
                "-c",
                '"$0" copy --json slow:data "$1" | head -n 1',
                str(PROGRAM),
                f"archive:{name}",
            ],
            env=user.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        function.wait_clean(10)
    assert json.loads(done.stdout)["event"] == "started"
    assert done.stderr == ""
