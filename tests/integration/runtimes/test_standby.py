"""An rclone that is booted ahead of the transfer: it is used once, and is as confined."""

from __future__ import annotations

import http.server
import signal
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from efss_transfer.config.settings import Settings
from support import http_servers, service_process
from support.service_process import Function
from support.storages import Storage


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", STANDBY="1") as running:
        assert running.get("/healthz").status_code == 200
        yield running
    service_process.wait_clean(tmp_path / "run", 15)


def rclones(function: Function) -> set[int]:
    found = set()
    for process in function.family():
        try:
            if process.name() == "rclone":
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def test_each_serves_one_transfer_and_another_takes_its_place(
    ready: Function, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("ahead", {"a": b"a", "b/ü": b"b"})
    used: list[int] = []
    for number in range(3):
        used.append(ready.standby(number + 1))
        assert rclones(ready) == {used[-1]}
        name = uuid.uuid4().hex
        answer = ready.copy(webdav.endpoint("ahead"), s3.endpoint(name))
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/{name}") == hashes
        assert used[-1] not in rclones(ready)
    assert len(set(used)) == 3
    # None was booted but those.
    assert ready.standby(4) not in used


def test_at_once_one_is_ahead_and_the_others_are_booted(
    ready: Function, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("at-once", {"a": b"a"})
    ready.standby()
    names = [uuid.uuid4().hex for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda n: ready.copy(webdav.endpoint("at-once"), s3.endpoint(n)), names)
        )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(s3.hashes(f"bucket/{name}") == hashes for name in names)
    ready.standby(2)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "deaf"])
def test_one_that_does_not_answer_is_ended_and_another_is_booted(
    ready: Function, webdav: Storage, s3: Storage, how: signal.Signals
) -> None:
    hashes = webdav.fill("broken", {"a": b"a"})
    pid = ready.standby()
    psutil.Process(pid).send_signal(how)
    name = uuid.uuid4().hex
    answer = ready.copy(webdav.endpoint("broken"), s3.endpoint(name))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{name}") == hashes
    assert rclones(ready) <= {ready.standby(2)}
    assert "stopped the standby rclone, which does not respond" in ready.log.read_text()


def test_its_guard_lets_out_what_the_transfer_may_reach_and_nothing_else(
    ready: Function, s3: Storage
) -> None:
    """Nothing before it is used, and then as if it had been booted for this transfer."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        listener.settimeout(0.2)

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            # Unread, it would be taken for the connection's next request.
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            handler.send_response(302)
            handler.send_header("Location", f"http://127.0.0.2:{listener.getsockname()[1]}/x")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with (
            http_servers.misbehaving(answer) as url,
            service_process.function(
                ready.runtime_dir,
                site={"allow": {"networks": ["127.0.0.1/32"]}},
                STANDBY="1",
            ) as strict,
        ):
            strict.get("/healthz")
            strict.standby()
            source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
            refused = strict.copy(source, s3.endpoint(uuid.uuid4().hex))
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        with pytest.raises(TimeoutError):
            listener.accept()


def test_it_holds_no_secret_and_has_no_remote(ready: Function) -> None:
    process = psutil.Process(ready.standby())
    assert set(process.environ()) <= {
        "PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LISTEN_FDS",
        "LISTEN_PID", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "PWD", "HTTP_PROXY", "HTTPS_PROXY",
        "SSL_CERT_FILE", "SSL_CERT_DIR",
    }  # fmt: skip


def test_on_lambda_there_is_none_whatever_is_set() -> None:
    there = {"EFSS_TRANSFER_STANDBY": "1", "AWS_LAMBDA_FUNCTION_NAME": "copy"}
    assert Settings.read(there).rclone.standby is False
