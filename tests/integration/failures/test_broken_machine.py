"""A machine that lets the service down: the answer is true and in time, and nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from support import http_servers, service_process
from support.contract import complaints
from support.service_process import Function
from support.storages import Storage, digest

pytestmark = [pytest.mark.field_case("K15"), pytest.mark.slow]

STOP_SECONDS: Final = 1
BOUND: Final = 11 + 3 * STOP_SECONDS
"""See docs/reference/settings.md."""
FILES: Final = {f"{number:02}.txt": b"x" * number for number in range(20)}
PIDS: Final = Path("/sys/fs/cgroup/pids")


def problem(answer: Any) -> dict[str, Any]:
    """The problem that an answer is."""
    document = answer.json()
    assert complaints("problem", document) == []
    return dict(document)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def own(runtime: Path) -> Iterator[Function]:
    """A service of this test's own."""
    with service_process.function(
        runtime, STOP_SECONDS=str(STOP_SECONDS), THREADS="8", CONCURRENT_TRANSFERS="4"
    ) as running:
        yield running


def keepers(function: Function) -> list[psutil.Process]:
    return [one for one in function.family() if "efss-transfer-keeper" in " ".join(one.cmdline())]


def kill_keeper(function: Function) -> None:
    (keeper,) = keepers(function)
    keeper.kill()


def freeze_rclone(function: Function) -> None:
    function.daemons()[0].suspend()


def kill_keeper_and_freeze_rclone(function: Function) -> None:
    kill_keeper(function)
    freeze_rclone(function)


@pytest.mark.parametrize(
    "harm",
    [
        kill_keeper,
        freeze_rclone,
        kill_keeper_and_freeze_rclone,
    ],
)
@pytest.mark.parametrize("moment", [0.0, 0.2, 1.5])
def test_deadline_holds_when_a_process_is_stopped_or_killed(
    moment: float,
    harm: Callable[[Function], None],
    own: Function,
    s3: Storage,
    folder: str,
) -> None:
    with http_servers.slow_source(300_000_000, 100_000) as slow, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        ends = (slow.endpoint("data"), s3.endpoint(folder))
        answer = pool.submit(own.copy, *ends, options={"deadline_seconds": 4})
        while not own.daemons() or not keepers(own):
            assert time.monotonic() - began < 4
            time.sleep(0.005)
        time.sleep(moment)  # into the copy, or into the boot
        harm(own)
        document = problem(answer.result(60))
        seconds = time.monotonic() - began
    assert seconds < 4 + BOUND
    assert document["code"] in ("incomplete", "engine_failed"), document
    assert document["retryable"] is True
    own.wait_clean()
    assert s3.hashes(f"bucket/{folder}") == {}


def test_copy_succeeds_without_its_keeper(own: Function, s3: Storage, folder: str) -> None:
    with http_servers.slow_source(300_000, 200_000) as slow, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own.copy, slow.endpoint("data"), s3.endpoint(folder))
        while not own.daemons():
            time.sleep(0.005)
        kill_keeper(own)
        assert answer.result(60).status_code == 200
    own.wait_clean()
    assert s3.hashes(f"bucket/{folder}") == {"0.bin": digest(bytes(300_000))}


def test_runtime_folder_without_room(
    tmp_path_factory: pytest.TempPathFactory, s3: Storage, folder: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    s3.fill(f"bucket/{folder}", FILES)
    runtime = tmp_path_factory.mktemp("full")
    options = ["-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "none", str(runtime)]
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        with service_process.function(runtime, STOP_SECONDS=str(STOP_SECONDS)) as function:
            (runtime / "full").mkdir()
            (runtime / "fuller").touch()
            began = time.monotonic()
            document = problem(function.copy(s3.endpoint(folder), s3.endpoint(f"{folder}-to")))
            assert time.monotonic() - began < BOUND
            assert (document["status"], document["code"]) == (500, "engine_failed")
            assert "No space left on device" in document["detail"]
            assert str(runtime) not in document["detail"]
            assert document["retryable"] is True
            (runtime / "full").rmdir()
            (runtime / "fuller").unlink()
            again = function.copy(s3.endpoint(folder), s3.endpoint(f"{folder}-to"))
            assert again.status_code == 200, again.text
            function.wait_clean()
    finally:
        subprocess.run(["umount", str(runtime)], check=True)


@pytest.mark.parametrize("form", ["gone", "a file", "read only"])
def test_runtime_folder_that_is_none(
    form: str, own: Function, s3: Storage, folder: str, runtime: Path
) -> None:
    s3.fill(f"bucket/{folder}", FILES)
    ends = (s3.endpoint(folder), s3.endpoint(f"{folder}-to"))
    with ExitStack() as undo:
        if form == "read only":
            if subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "ro", "none", str(runtime)],
                check=False,
                capture_output=True,
            ).returncode:
                pytest.skip("this machine lets nobody mount")
            undo.callback(subprocess.run, ["umount", str(runtime)], check=True)
        else:
            runtime.rmdir()
            undo.callback(runtime.mkdir)
        if form == "a file":
            runtime.touch()
            undo.callback(runtime.unlink)
        began = time.monotonic()
        document = problem(own.copy(*ends))
        assert time.monotonic() - began < BOUND
        assert (document["status"], document["code"]) == (500, "engine_failed")
        assert str(runtime) not in document["detail"]
        assert own.get("/healthz").status_code == 503
    assert own.copy(*ends).status_code == 200
    own.wait_clean()


def test_runtime_folder_that_is_removed_in_mid_copy(
    own: Function, s3: Storage, folder: str, runtime: Path
) -> None:
    with http_servers.slow_source(300_000_000, 100_000) as slow, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        ends = (slow.endpoint("data"), s3.endpoint(folder))
        answer = pool.submit(own.copy, *ends, options={"deadline_seconds": 4})
        while not own.daemons():
            time.sleep(0.005)
        time.sleep(1)  # into the copy
        shutil.rmtree(runtime)
        document = problem(answer.result(60))
        assert time.monotonic() - began < 4 + BOUND
    assert document["code"] in ("incomplete", "engine_failed")
    assert document["retryable"] is True
    runtime.mkdir()
    own.wait_clean()


@pytest.fixture
def processes(own: Function) -> Iterator[Path]:
    """A control group that limits the service's processes and threads."""
    group = PIDS / f"efss-transfer-{os.getpid()}-{threading.get_ident()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this machine has no control group for processes that a test may make")
    try:
        for process in (psutil.Process(own.process.pid), *own.family()):
            (group / "cgroup.procs").write_text(str(process.pid))
        yield group
    finally:
        (group / "pids.max").write_text("max")
        own.process.terminate()
        own.process.wait(20)
        until = time.monotonic() + 10
        while (group / "pids.current").read_text().strip() != "0":
            assert time.monotonic() < until
            time.sleep(0.05)
        group.rmdir()


def test_no_threads_or_processes_are_left(
    own: Function, processes: Path, s3: Storage, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", FILES)
    for _ in range(10):
        own.get("/healthz")  # gunicorn starts its threads with the first requests
    outcomes = set()
    for more in (0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 16, 40):
        own.wait_clean()
        current = int((processes / "pids.current").read_text())
        (processes / "pids.max").write_text(str(current + more))
        began = time.monotonic()
        ends = (s3.endpoint(folder), s3.endpoint(f"{folder}-{more}"))
        answer = own.copy(*ends, options={"deadline_seconds": 5, "attempts": 1})
        assert time.monotonic() - began < 5 + BOUND
        (processes / "pids.max").write_text("max")
        own.wait_clean()
        if answer.status_code == 200:
            outcomes.add("succeeded")
            assert s3.hashes(f"bucket/{folder}-{more}").keys() == FILES.keys()
        else:
            document = problem(answer)
            outcomes.add(document["code"])
            assert document["retryable"] is True, (more, document)
    assert outcomes == {"engine_failed", "succeeded"}
    assert "Traceback" not in own.log.read_text()
