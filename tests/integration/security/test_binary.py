"""No rclone is run that is not known, and the service says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from efss_transfer.engines.rclone.process.binary import pinned_release
from support import service_process
from support.storages import Storage, digest

# Each test starts a service of its own.
pytestmark = pytest.mark.slow


@pytest.fixture
def changed(tmp_path: Path, rclone: Path) -> Path:
    """An rclone of which the last byte is another; it runs as well as it did."""
    (tmp_path / "run").mkdir()
    file = tmp_path / "rclone"
    shutil.copy(rclone, file)
    with file.open("r+b") as content:
        content.seek(-1, 2)
        last = content.read(1)
        content.seek(-1, 2)
        content.write(bytes([last[0] ^ 1]))
    return file


@pytest.mark.parametrize("own_hash", ["", "0" * 64])
def test_a_changed_rclone_is_not_run(
    changed: Path, webdav: Storage, s3: Storage, own_hash: str
) -> None:
    runtime = changed.parent / "run"
    webdav.fill("unknown", {"a": b"a"})
    with service_process.function(
        runtime, RCLONE=str(changed), RCLONE_SHA256=own_hash, LOG_LEVEL="DEBUG"
    ) as function:
        answer = function.get("/healthz")
        assert answer.status_code == 503
        health = answer.json()["engines"]["rclone"]
        assert health["usable"] is False
        assert "EFSS_TRANSFER_RCLONE_SHA256" in health["detail"]
        problem = function.copy(webdav.endpoint("unknown"), s3.endpoint("unknown"))
        assert problem.status_code == 500
        assert problem.json()["code"] == "engine_failed"
        assert problem.json()["retryable"] is False
        assert "EFSS_TRANSFER_RCLONE_SHA256" in problem.json()["detail"]
        assert "was started" not in function.log.read_text()
    assert s3.hashes("bucket/unknown") == {}


def test_a_changed_rclone_is_run_if_the_operator_says_so(
    changed: Path, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("known", {"a": b"a"})
    with service_process.function(
        changed.parent / "run",
        RCLONE=str(changed),
        RCLONE_SHA256=digest(changed.read_bytes()).upper(),
        LOG_LEVEL="DEBUG",
    ) as function:
        health = function.get("/healthz").json()["engines"]["rclone"]
        assert (health["usable"], health["version"]) == (True, pinned_release()["version"])
        assert function.copy(webdav.endpoint("known"), s3.endpoint("known")).ok
        function.wait_clean()
        # What shows in the other test that nothing was run.
        assert "was started" in function.log.read_text()
    assert s3.hashes("bucket/known") == hashes
