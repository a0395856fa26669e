"""However a transfer ends: no process, no file, no socket, no half upload is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from support import http_servers, service_process
from support.service_process import Function
from support.storages import Storage

MIB = 1 << 20
# Beyond the 200 MiB from which rclone uploads to S3 in parts.
LARGE = 300 * MIB


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Function]:
    """A function of this test's own, to be killed."""
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", STOP_SECONDS="3") as running:
        yield running


@pytest.fixture(autouse=True)
def _no_upload_of_another_test(s3: Storage) -> Iterator[None]:
    """Where rclone is killed by force, an upload stays open: the next test must not see it."""
    yield
    for upload in uploads(s3):
        s3.details["client"].abort_multipart_upload(
            Bucket="bucket", Key=upload["Key"], UploadId=upload["UploadId"]
        )


@contextmanager
def posted(function: Function, body: dict[str, Any], **options: Any) -> Iterator[Future[Any]]:
    """A request in another thread, which has reached the storages when the block begins."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(function.post, body, **options)
        wait_until(lambda: daemons(function), "rclone was not started")
        yield answer


def daemons(function: Function) -> list[psutil.Process]:
    return function.daemons()


def wait_until(what: Any, otherwise: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, otherwise
        time.sleep(0.01)


def uploads(s3: Storage) -> list[Any]:
    listed = s3.details["client"].list_multipart_uploads(Bucket="bucket")
    return list(listed.get("Uploads", []))


def large_copy(slow: Storage, s3: Storage, path: str) -> dict[str, Any]:
    return {"source": slow.endpoint("data"), "destination": s3.endpoint(path)}


@pytest.mark.field_case("K5")
@pytest.mark.parametrize(
    ("accept", "more"),
    [
        ("application/json", b""),
        ("application/json", b"\n"),
        ("application/json", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("application/x-ndjson", b""),
        ("application/x-ndjson", b"\r\n"),
        ("text/event-stream", b""),
    ],
)
def test_caller_that_hangs_up_cancels_the_copy(
    function: Function, s3: Storage, accept: str, more: bytes
) -> None:
    with http_servers.slow_source(LARGE, 20 * MIB) as slow:
        host, port = function.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as caller:
            body = json.dumps(large_copy(slow, s3, "hung-up")).encode()
            caller.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            wait_until(lambda: uploads(s3), "the upload never began")
            caller.sendall(more)
        function.wait_clean(10)
        assert uploads(s3) == []
        assert s3.hashes("bucket/hung-up") == {}


def test_sigterm_of_the_function_ends_transfers_as_incomplete(own: Function, s3: Storage) -> None:
    with (
        http_servers.slow_source(LARGE, 20 * MIB) as slow,
        posted(own, large_copy(slow, s3, "terminated")) as answer,
    ):
        wait_until(lambda: uploads(s3), "the upload never began")
        own.process.terminate()
        problem = answer.result(20)
    assert problem.status_code == 504
    assert problem.headers["Retry-After"] == "0"
    assert problem.json()["code"] == "incomplete"
    assert problem.json()["retryable"] is True
    assert problem.json()["result"]["state"] == "incomplete"
    own.process.wait(20)
    own.wait_clean()
    assert uploads(s3) == []


@pytest.mark.parametrize("whom", ["worker", "all"])
def test_kill_9_of_the_function_leaves_nothing_here(own: Function, s3: Storage, whom: str) -> None:
    with (
        http_servers.slow_source(LARGE, 20 * MIB) as slow,
        posted(own, large_copy(slow, s3, f"killed-{whom}")) as answer,
    ):
        wait_until(lambda: uploads(s3), "the upload never began")
        python = [p for p in own.family() if "functions-framework" in " ".join(p.cmdline())]
        if whom == "all":
            os.kill(own.process.pid, signal.SIGKILL)
        for process in python:
            process.kill()
        with pytest.raises(requests.ConnectionError):
            answer.result(20)
        # The upload stays open: the guard died with the function, so rclone could tell the
        # storage nothing any more.
        own.wait_clean(20)


def test_a_daemon_that_dies_in_mid_copy_is_an_engine_failure(
    function: Function, s3: Storage
) -> None:
    with (
        http_servers.slow_source(LARGE, 20 * MIB) as slow,
        posted(function, large_copy(slow, s3, "died")) as answer,
    ):
        wait_until(lambda: uploads(s3), "the upload never began")
        began = time.monotonic()
        for process in daemons(function):
            process.kill()
        problem = answer.result(20)
    assert time.monotonic() - began < 10
    assert problem.status_code == 500
    assert problem.json()["code"] == "engine_failed"
    assert problem.json()["retryable"] is True
    assert problem.json()["result"]["state"] == "failed"


@pytest.mark.slow
def test_a_frozen_daemon_is_killed_within_the_bound(own: Function, s3: Storage) -> None:
    """Deaf to everything, SIGTERM too: as if it hung in the kernel."""
    with (
        http_servers.slow_source(LARGE, 20 * MIB) as slow,
        posted(own, large_copy(slow, s3, "frozen")) as answer,
    ):
        wait_until(lambda: uploads(s3), "the upload never began")
        (daemon,) = daemons(own)
        daemon.suspend()
        began = time.monotonic()
        problem = answer.result(40)
    # Its silence is noticed by the next question for progress, and then it is stopped.
    assert time.monotonic() - began < 10 + 3 * 3 + 10
    assert problem.status_code == 500
    assert problem.json()["code"] == "engine_failed"
    own.wait_clean()


def test_the_duration_is_a_bound_and_what_arrived_counts(tmp_path: Path, s3: Storage) -> None:
    (tmp_path / "run").mkdir()
    with (
        service_process.function(tmp_path / "run", DURATION_SECONDS="8") as short,
        http_servers.slow_source(1 * MIB, MIB, files=40) as slow,
    ):
        began = time.monotonic()
        problem = short.copy(slow.endpoint("data"), s3.endpoint("late"), options={"transfers": 4})
        assert time.monotonic() - began < 8 + 10
        assert problem.status_code == 504
        result = problem.json()["result"]
        assert result["state"] == "incomplete"
        assert result["totals"]["files"]["failed"] == 0
        assert 0 < result["totals"]["files"]["transferred"] < 40
        assert result["rclone"]["exit_code"] == 10
        short.wait_clean()
    arrived = s3.hashes("bucket/late")
    assert len(arrived) == result["totals"]["files"]["transferred"], "a partial file is left"


def test_progress_is_told_while_it_runs(function: Function, s3: Storage) -> None:
    with http_servers.slow_source(6 * MIB, 2 * MIB, files=2) as slow:
        answer = function.post(
            {
                "id": "watched",
                "source": slow.endpoint("data"),
                "destination": s3.endpoint("watched"),
            },
            headers={"Accept": "application/x-ndjson"},
        )
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    events = [json.loads(line) for line in answer.text.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "result"
    assert kinds.count("file") == 2
    progress = [event for event in events if event["event"] == "progress"]
    assert len(progress) >= 3
    assert any(0 < event["bytes"]["transferred"] < 12 * MIB for event in progress)
    assert progress[-1]["bytes"]["expected"] == 12 * MIB
    for members in ("files", "bytes"):
        expected = [event[members]["expected"] for event in progress]
        assert expected == sorted(expected), "what is expected has shrunk"
    assert events[0]["id"] == events[-1]["id"] == "watched"
    assert events[-1]["totals"]["bytes"]["transferred"] == 12 * MIB


def test_nobody_else_on_the_machine_can_reach_the_daemon(function: Function, s3: Storage) -> None:
    with (
        http_servers.slow_source(LARGE, 20 * MIB) as slow,
        posted(function, large_copy(slow, s3, "private")) as answer,
    ):
        (daemon,) = daemons(function)
        wait_until(lambda: uploads(s3), "the upload never began")
        assert [c for c in daemon.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []
        (folder,) = function.runtime_dir.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [file.name for file in folder.iterdir()] == ["rc"]
        assert os.getpgid(daemon.pid) == daemon.pid
        daemon.terminate()
        answer.result(20)


def test_ctrl_c_in_its_terminal_ends_all(own: Function, s3: Storage) -> None:
    with (
        http_servers.slow_source(LARGE, 20 * MIB) as slow,
        posted(own, large_copy(slow, s3, "interrupted")) as answer,
    ):
        wait_until(lambda: uploads(s3), "the upload never began")
        os.killpg(own.process.pid, signal.SIGINT)
        own.process.wait(40)
        answer.exception(20)
    own.wait_clean()
    wait_until(lambda: not uploads(s3), "an upload is left open")


def test_no_thread_is_left_waiting(function: Function, webdav: Storage, s3: Storage) -> None:
    """The same function serves one request after another, and does not grow."""
    webdav.fill("threads", {"a": b"a"})
    worker = function.worker()
    for _ in range(3):
        function.copy(webdav.endpoint("threads"), s3.endpoint("threads"))
    before = worker.num_threads(), worker.num_fds()
    for _ in range(10):
        assert function.copy(webdav.endpoint("threads"), s3.endpoint("threads")).ok
    # gunicorn's pool may still add a thread of its own for a connection.
    wait_until(
        lambda: worker.num_threads() <= before[0] + 2 and worker.num_fds() <= before[1] + 2,
        f"threads and files grew from {before} to {worker.num_threads(), worker.num_fds()}",
    )


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Function]:
    """A function whose rclone gets little time to end, because it is killed often."""
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", STOP_SECONDS="0.5") as running:
        yield running


def test_kill_9_at_any_moment_leaves_nothing(hasty: Function, webdav: Storage, s3: Storage) -> None:
    """While it boots, while remotes are created, while it copies, while it cleans up."""
    webdav.fill("moments", {"a": b"a"})
    body = {"source": webdav.endpoint("moments"), "destination": s3.endpoint("moments")}
    answered = 0
    for number in range(20):
        served = hasty.worker()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(hasty.post, body)
            time.sleep(number * 0.006)  # not to wait for something: to hit another moment
            served.kill()
            answered += answer.exception(20) is None
        hasty.wait_clean(20)
        assert hasty.get("/").ok, "gunicorn serves on with another worker"
    assert answered < 20, "it never was killed in time"
