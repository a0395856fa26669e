"""Many files in one request, and many requests at once."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import psutil
import pytest

from support import http_servers, service_process
from support import storages as servers
from support.service_process import Function
from support.storages import Storage
from support.watching import Watching

MANY = 2_500
MIB = 1 << 20


@pytest.fixture
def eight(tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "run").mkdir()
    with service_process.function(
        tmp_path / "run", CONCURRENT_TRANSFERS="8", THREADS="24"
    ) as running:
        yield running


def test_eight_run_and_all_others_are_told_busy_at_once(eight: Function, s3: Storage) -> None:
    """No transfer ends before all others have their answers."""
    are_told = threading.Event()

    def hold(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND":
            shown = {"/data/a": 1} if "/a" in handler.path else {"/data/": 0, "/data/a": 1}
            http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")
        else:
            are_told.wait(60)
            http_servers.reply(handler, 200, b"a")

    with http_servers.misbehaving(hold) as url, ThreadPoolExecutor(50) as pool:
        source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        bodies = [
            {"source": source, "destination": s3.endpoint(f"busy-{number}")} for number in range(50)
        ]
        answers = [pool.submit(eight.post, body) for body in bodies]
        told = [answer.result() for answer in islice(as_completed(answers, 60), 42)]
        are_told.set()
        done = [answer.result() for answer in answers]
    assert Counter(answer.status_code for answer in told) == {503: 42}
    assert Counter(answer.status_code for answer in done) == {200: 8, 503: 42}
    for answer in told:
        assert answer.json()["code"] == "busy"
        assert answer.json()["retryable"] is True
        assert int(answer.headers["Retry-After"]) > 0
    eight.wait_clean()


@pytest.mark.slow
def test_fifty_one_after_another_leave_memory_and_files_as_they_were(
    eight: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("fifty", {"a": b"a", "b": b"b"})
    process = eight.worker()

    def copy(number: int) -> None:
        answer = eight.copy(webdav.endpoint("fifty"), s3.endpoint(f"fifty-{number}"))
        assert answer.status_code == 200, answer.text

    for number in range(10):
        copy(number)
    memory, files = process.memory_info().rss, process.num_fds()
    for number in range(10, 60):
        copy(number)
    eight.wait_clean()
    grown = process.memory_info().rss - memory
    assert grown < 4 * MIB, f"memory grew by {grown} bytes in 50 transfers"
    assert process.num_fds() <= files + 1
    assert psutil.Process(eight.process.pid).num_fds() < 40


class Peak(Watching):
    """The largest memory that a process had while the block ran."""

    period = 0.02

    def __init__(self, process: psutil.Process) -> None:
        super().__init__()
        self.process = process
        self.bytes = 0

    def look(self) -> None:
        self.bytes = max(self.bytes, self.process.memory_info().rss)


@pytest.fixture(scope="module")
def many(storages: dict[str, Storage]) -> str:
    webdav = storages["rclone"]
    folder = webdav.details["folder"] / "many"
    for number in range(MANY):
        below = folder / f"{number % 100:02}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number:05}.txt").write_bytes(str(number).encode())
    webdav.fill("many", {"00/00000.txt": b"0"})  # makes the server look again
    return "many"


@pytest.mark.slow
def test_thousands_of_files_are_all_accounted_for(
    eight: Function, storages: dict[str, Storage], s3: Storage, many: str
) -> None:
    """Slow, because rclone's pace for WebDAV is 100 calls a second by default."""
    source = storages["rclone"]
    expected = {f"{n % 100:02}/{n:05}.txt" for n in range(MANY)}
    process = eight.worker()
    eight.copy(source.endpoint(many + "/00/00000.txt"), s3.endpoint("warm"))
    before = process.memory_info().rss

    with Peak(process) as peak:
        answer = eight.post(
            {"source": source.endpoint(many), "destination": s3.endpoint("many")},
            headers={"Accept": "application/x-ndjson"},
            timeout=1200,
        )
    events = [json.loads(line) for line in answer.text.splitlines()]
    files = [event["path"] for event in events if event["event"] == "file"]
    assert len(files) == MANY
    assert set(files) == expected
    result = events[-1]
    assert result["state"] == "succeeded"
    assert result["totals"] == {
        "files": {"transferred": MANY, "skipped": 0, "failed": 0},
        "bytes": {"transferred": sum(len(str(n)) for n in range(MANY))},
    }
    print(f"stream of {MANY} files: Python grew by {(peak.bytes - before) / MIB:.1f} MiB")
    assert peak.bytes - before < 16 * MIB

    with Peak(process) as peak:
        whole = eight.post(
            {
                "source": source.endpoint(many),
                "destination": s3.endpoint("many"),
                "options": {"report": "all"},
            },
            timeout=1200,
        )
    named = {file["path"] for file in whole.json()["files"]}
    assert named == expected
    assert whole.json()["totals"]["files"] == {"transferred": 0, "skipped": MANY, "failed": 0}
    print(f"JSON of {MANY} files: Python grew by {(peak.bytes - before) / MIB:.1f} MiB")
    assert peak.bytes - before < 48 * MIB


@pytest.mark.slow
def test_a_large_file_of_a_source_that_ignores_range_arrives_as_it_is(
    eight: Function, s3: Storage
) -> None:
    """With several streams rclone would put the file's beginning into every part of it."""
    blocks = [hashlib.sha256(str(number).encode()).digest() * (MIB // 32) for number in range(300)]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND":
            shown = {"/data/": 0, "/data/large.bin": 0}
            if "large" in handler.path:
                shown = {"/data/large.bin": 0}
            body = http_servers.multistatus(dict.fromkeys(shown, len(blocks) * MIB))
            http_servers.reply(handler, 207, body, "text/xml")
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(blocks) * MIB))
            handler.end_headers()
            for block in blocks:
                handler.wfile.write(block)

    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        response = eight.copy(source, s3.endpoint("large"))
    assert response.status_code == 200, response.text
    assert s3.hashes("bucket/large") == {"large.bin": servers.digest(b"".join(blocks))}
