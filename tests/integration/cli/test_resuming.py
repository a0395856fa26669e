"""The command resumes and retries by itself, within its limits."""

from __future__ import annotations

import http.server
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.result import FileOutcome, FileState, Result, State, Totals
from support import http_servers, service_process
from support.cli_user import User, unused_url
from support.storages import Storage

NOON: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.slow
def test_one_command_resumes_over_four_invocations(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {f"{n // 10}/{n:02}": os.urandom(500_000) for n in range(56)})
    runtime = tmp_path / "run"
    runtime.mkdir()
    # The platform's limit, and not the caller's: 28 MB at 1 MB/s within ten seconds each.
    with service_process.function(runtime, DURATION_SECONDS="10") as function:
        user.environment["EFSS_TRANSFER_URL"] = function.url
        words = ["copy", "--bandwidth-limit", "1000000", f"cloud:{name}", f"archive:{name}"]
        with user.in_terminal(*words) as screen:
            assert screen.end(300) == 0
        function.wait_clean()
    assert s3.hashes(f"bucket/{name}") == hashes
    found = re.search(
        r"56 files copied, 26.7 MiB, in .*, (\d+) invocations; 0 skipped", screen.text
    )
    assert found is not None, screen.text
    assert int(found[1]) >= 4
    assert (
        screen.text.count("The service's time limit was reached. Resuming: invocation")
        == int(found[1]) - 1
    )


@pytest.mark.field_case("F1")
def test_command_ends_if_each_invocation_copies_the_same_files(user: User) -> None:
    path = "data/a.txt"
    result = Result(State.INCOMPLETE, "rclone", Totals(1, 0, 0, 5), NOON, NOON, "incomplete")
    events: list[Event] = [
        Started("rclone", NOON, None),
        FileDone(FileOutcome(path, FileState.TRANSFERRED, 5)),
        Finished(result),
    ]
    lines = b"".join(json.dumps(event.to_json()).encode() + b"\n" for event in events)
    sent = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        sent.append(handler.path)
        status = 200 if len(sent) < 10 else 403
        http_servers.reply(handler, status, lines, "application/x-ndjson")

    with http_servers.misbehaving(answer) as url:
        done = user.run("copy", "--url", url, "cloud:x", "archive:x")
    assert done.returncode == 10, done.stderr
    assert len(sent) == 4
    assert "Stopped: 3 invocations copied only files that earlier ones had copied." in done.stderr


@pytest.mark.slow
def test_incomplete_copy_ends_at_its_limits(user: User, s3: Storage, name: str) -> None:
    with http_servers.slow_source(200_000, 100_000, files=40) as slow:
        user.write_endpoints(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        # Four at a time, of two seconds each: what is chosen for files of this size is all forty
        # at once, and they would arrive.
        words = ["copy", "slow:data", f"archive:{name}", "--deadline", "5", "--transfers", "4"]
        done = user.run(*words, "--max-invocations", "1")
        assert done.returncode == 10, done.stderr
        assert done.stdout.startswith(
            "Copy incomplete: the time limit was reached. To continue, run the same command again."
        )
        always = user.run(*words, "--overwrite", "always")
        assert always.returncode == 10
        assert always.stdout.startswith("Copy incomplete: the time limit was reached.\n")
        assert "--overwrite always would copy everything again" in always.stderr
    with http_servers.slow_source(20_000_000, 100_000) as slow:
        user.write_endpoints(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        stalled = user.run("copy", "slow:data", f"archive:{name}x", "--deadline", "2")
        assert stalled.returncode == 10
        assert stalled.stderr.count("Resuming: invocation") == 2
        assert "Stopped: no file arrived in 3 invocations" in stalled.stderr


@pytest.mark.slow
def test_unreachable_service_is_retried_and_then_reported(user: User) -> None:
    gone = unused_url()
    done = user.run("copy", "--url", gone, "--retries", "1", "cloud:x", "archive:x")
    assert done.returncode == 5
    assert done.stderr.count("refused or closed the connection") == 2
    assert "Retrying in 1 s." in done.stderr
    with user.in_terminal(
        "copy", "--url", gone, "--retries", "0", "cloud:x", "archive:x"
    ) as screen:
        assert screen.end() == 5
    assert "efss-transfer: service_unreachable:" in screen.text
