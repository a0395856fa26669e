"""A low soft limit of descriptors does not fail transfers: the service raises it at its start."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from support import service_process
from support.service_process import SCRIPTS
from support.storages import Storage


@pytest.mark.field_case("K10")
@pytest.mark.parametrize("limits", ["-Sn 128", "-Sn 128; ulimit -Hn 2000"], ids=["soft", "hard"])
@pytest.mark.slow  # many transfers at once
def test_transfers_side_by_side_need_more_descriptors_than_the_soft_limit(
    limits: str, tmp_path: Path, s3: Storage
) -> None:
    files = {f"{number}.txt": b"x" * number for number in range(20)}
    path = uuid.uuid4().hex
    hashes = s3.fill(f"bucket/{path}", files)
    targets = [uuid.uuid4().hex for _ in range(8)]
    runtime = tmp_path / "run"
    runtime.mkdir()
    script = f'ulimit {limits}; exec "$@"'
    command = ("/bin/sh", "-c", script, "sh", str(SCRIPTS / "functions-framework"))
    with service_process.function(runtime, command=command) as function:
        most = function.worker().rlimit(psutil.RLIMIT_NOFILE)[0]
        with ThreadPoolExecutor(len(targets)) as callers:
            answers = list(
                callers.map(
                    lambda target: function.copy(s3.endpoint(path), s3.endpoint(target)), targets
                )
            )
        function.wait_clean()
    assert most >= 1024
    for answer, target in zip(answers, targets, strict=True):
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/{target}") == hashes
