"""A hundred thousand files, a large one, and copies that break off and are sent again.

What is held of memory was measured: with 100,000 files the function's Python grows by up to
3 MiB for a stream (the ledger's eight bytes a file are 0.8 of them), and by up to 41 MiB for a
list that is as long as an answer may be. rclone itself has about 100 MiB then.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import contract, faulty_webdav, service_process
from support import storages as servers
from support.faulty_webdav import Faulty
from support.service_process import GATEWAY, Function
from support.storages import Storage
from support.watching import Watching

MIB = 1 << 20
MANY = 100_000
COPIED = 5_000
FOLDERS = 100
RESPONSE_BYTES = 5 * MIB


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A function of this module's own, so that its memory is that of these transfers."""
    runtime = tmp_path_factory.mktemp("scale") / "run"
    runtime.mkdir()
    with service_process.function(
        runtime, CONCURRENT_TRANSFERS="1", RESPONSE_BYTES=str(RESPONSE_BYTES)
    ) as running:
        yield running


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, rclone: Path) -> Iterator[Storage]:
    """A tree of a hundred folders with a thousand files each, and a smaller one."""
    folder = tmp_path_factory.mktemp("many")
    for name, files, size in (("dry", MANY, 1), ("copied", COPIED, 1024)):
        for path in paths(files):
            file = folder / name / path
            if path.endswith("/000.txt"):
                file.parent.mkdir(parents=True)
            file.write_bytes(content(path, size))
    with servers.rclone_webdav(folder, rclone) as running:
        yield running


def paths(files: int) -> list[str]:
    """Their names: as many in each of the folders."""
    return [f"{n:02}/{m:03}.txt" for n in range(FOLDERS) for m in range(files // FOLDERS)]


def content(path: str, size: int) -> bytes:
    """What is in a file: another thing in each that has room for it."""
    return (path.encode() * (size // len(path) + 1))[-size:]


class Memory(Watching):
    """How far the function's Python grew while the block ran, and how large rclone got.

    Grown is measured from what it has after a small transfer: all that is loaded once is
    loaded, and what it does for one file is done.
    """

    def __init__(self, function: Function, source: Storage, destination: Storage) -> None:
        warm = function.copy(source.endpoint("dry/00/000.txt"), destination.endpoint("warm"))
        assert warm.status_code == 200, warm.text
        self._function = function
        self._python = function.worker()
        self._before = self._python.memory_info().rss
        super().__init__()
        self.grown = 0
        self.rclone = 0

    def look(self) -> None:
        self.grown = max(self.grown, self._python.memory_info().rss - self._before)
        for process in self._function.family():
            try:
                if process.name() == "rclone":
                    self.rclone = max(self.rclone, process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue

    def __str__(self) -> str:
        return f"Python grew by {self.grown / MIB:.1f} MiB; rclone had {self.rclone / MIB:.0f} MiB"


def streamed(
    function: Function, source: Any, destination: Any, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events of files of a transfer that is told as a stream, and its result."""
    answer = function.post(
        {"source": source, "destination": destination, "options": options},
        headers={"Accept": "application/x-ndjson"},
        timeout=600,
    )
    told = [json.loads(line) for line in answer.text.splitlines()]
    return [event for event in told if event["event"] == "file"], told[-1]


def once(files: list[dict[str, Any]], expected: list[str]) -> None:
    """Every file was told, and none of them twice."""
    assert len(files) == len(expected)
    assert Counter(file["path"] for file in files) == dict.fromkeys(expected, 1)


@pytest.mark.slow
def test_a_hundred_thousand_files_are_each_told_once_and_not_kept(
    one: Function, many: Storage, s3: Storage
) -> None:
    with Memory(one, many, s3) as memory:
        files, result = streamed(one, many.endpoint("dry"), s3.endpoint("dry"), dry_run=True)
    print(f"stream of {MANY} files: {memory}")
    once(files, paths(MANY))
    assert {(file["state"], file["reason"], file["bytes"]) for file in files} == {
        ("skipped", "dry_run", 1)
    }
    assert result["state"] == "succeeded"
    assert result["totals"] == {
        "files": {"transferred": 0, "skipped": MANY, "failed": 0},
        "bytes": {"transferred": 0, "dry_run": MANY},
        "skipped": {"dry_run": MANY},
    }
    assert s3.hashes("bucket/dry") == {}
    # Measured: 1.6 to 3.0 MiB. If it kept them, it would be about 60: see the next test.
    # The gateway remembers what it lists: measured 28.5 MiB.
    assert memory.grown < (48 if GATEWAY else 8) * MIB


@pytest.mark.slow
def test_a_list_of_a_hundred_thousand_files_is_cut_to_what_an_answer_may_hold(
    one: Function, many: Storage, s3: Storage
) -> None:
    with Memory(one, many, s3) as memory:
        answer = one.copy(
            many.endpoint("dry"),
            s3.endpoint("dry"),
            options={"dry_run": True, "report": "all"},
        )
    print(f"JSON of {MANY} files: {memory}")
    assert answer.status_code == 200, answer.text
    assert RESPONSE_BYTES - 1000 < len(answer.content) <= RESPONSE_BYTES
    told = answer.json()
    assert len(told["files"]) + told["files_omitted"] == MANY
    assert told["files_omitted"] > 0
    listed = Counter(file["path"] for file in told["files"])
    assert max(listed.values()) == 1
    assert set(listed) < set(paths(MANY))
    assert told["totals"]["files"] == {"transferred": 0, "skipped": MANY, "failed": 0}
    # Measured: 32 to 41 MiB, for the 67,000 files or so that there is room for.
    assert memory.grown < 64 * MIB


@pytest.mark.slow
def test_five_thousand_files_are_copied_and_each_told_once(
    one: Function, many: Storage, s3: Storage
) -> None:
    """A minute, because rclone's pace for WebDAV is 100 calls a second."""
    with Memory(one, many, s3) as memory:
        files, result = streamed(one, many.endpoint("copied"), s3.endpoint("copied"))
    print(f"copy of {COPIED} files: {memory}")
    once(files, paths(COPIED))
    assert {(file["state"], file["bytes"]) for file in files} == {("transferred", 1024)}
    assert result["state"] == "succeeded"
    assert result["totals"] == {
        "files": {"transferred": COPIED, "skipped": 0, "failed": 0},
        "bytes": {"transferred": COPIED * 1024},
    }
    # Of a file that came in one piece it is the hash, by the server, of what it holds.
    pages = (
        s3.details["client"]
        .get_paginator("list_objects_v2")
        .paginate(Bucket="bucket", Prefix="copied/")
    )
    hashes = {
        item["Key"].removeprefix("copied/"): item["ETag"].strip('"')
        for page in pages
        for item in page["Contents"]
    }
    assert hashes == {
        path: hashlib.md5(content(path, 1024), usedforsecurity=False).hexdigest()
        for path in paths(COPIED)
    }
    # Measured: 0.9 to 1.4 MiB.
    assert memory.grown < 8 * MIB


@pytest.mark.slow
def test_a_large_file_of_a_source_that_ignores_range_is_verified_by_its_content(
    one: Function, s3: Storage
) -> None:
    """test_load has it without a verification, which reads both sides once more: a reader
    that begins anew somewhere would get the beginning there."""
    large = b"".join(
        hashlib.sha256(str(number).encode()).digest() * (MIB // 32) for number in range(300)
    )
    with faulty_webdav.serving(ranges=False) as dav:
        dav.fill("data", {"large.bin": large})
        answer = one.copy(
            dav.storage.endpoint("data"), s3.endpoint("verified"), options={"verify": "download"}
        )
        reads = len(dav.seen("GET"))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["totals"]["files"] == {"transferred": 1, "skipped": 0, "failed": 0}
    assert told["verification"] == {"mode": "download", "checked": 1, "differing": 0, "missing": 0}
    # The look asks for its beginning and two parts, too, none of which shows anything here.
    assert reads == 2 + 3
    assert s3.hashes("bucket/verified") == {"large.bin": servers.digest(large)}


FILES = {f"{number:02}.bin": os.urandom(3 * MIB) for number in range(8)}


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        yield running


def wait_until(what: Callable[[], object], otherwise: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, otherwise
        time.sleep(0.01)


def states(result: dict[str, Any]) -> dict[str, str]:
    """What became of each file that a result lists."""
    return {file["path"]: file["state"] for file in result["files"]}


@pytest.mark.parametrize("target", ["s3", "wsgidav", "sftp"])
def test_what_arrived_before_the_daemon_was_killed_is_not_sent_again(
    function: Function, dav: Faulty, storages: dict[str, Storage], target: str
) -> None:
    """Nobody is left to remove what was half there: the next copy finds and replaces it.

    More files have failed than engines: it is an engine's failure all the same.
    """
    there, name = storages[target], uuid.uuid4().hex
    hashes = dav.fill("data", FILES)
    dav.fail("GET", "/data/0[01].bin", faulty_webdav.status(403))
    dav.fail("GET", "/data/05.bin", faulty_webdav.stall(MIB))
    request = {
        "source": dav.storage.endpoint("data"),
        "destination": there.endpoint(name),
        # One by one, so that the others have arrived and were told when it stands still.
        "options": {"transfers": 1, "report": "all"},
    }
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(function.post, request)
        wait_until(lambda: dav.seen("GET", "/data/05.bin"), "it never came so far")
        (daemon,) = function.daemons()
        daemon.kill()
        problem = answer.result(20)
    told = problem.json()
    assert contract.complaints("problem", told) == []
    assert (problem.status_code, told["code"], told["retryable"]) == (500, "engine_failed", True)
    before = ["02.bin", "03.bin", "04.bin"]
    result = told["result"]
    assert result["state"] == "failed"
    assert states(result) == dict.fromkeys(before, "transferred") | {
        "00.bin": "failed",
        "01.bin": "failed",
    }
    assert result["totals"] == {
        "files": {"transferred": 3, "skipped": 0, "failed": 2},
        "bytes": {"transferred": 9 * MIB},
    }
    assert {(e["code"], e["count"]) for e in result["errors"]} == {
        ("permission_denied", 2),
        ("engine_failed", 1),
    }
    function.wait_clean()

    dav.heal()
    again = function.post(request)

    assert again.status_code == 200, again.text
    assert states(again.json()) == dict.fromkeys(FILES, "transferred") | dict.fromkeys(
        before, "skipped"
    )
    assert {request.path for request in dav.seen("GET")} == {
        f"/data/{path}" for path in FILES if path not in before
    }
    base = f"{there.base}/{name}" if there.base else name
    assert there.hashes(base) == hashes


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_token_that_is_revoked_in_mid_copy_is_told_per_file_and_not_tried_again(
    function: Function, dav: Faulty, s3: Storage, side: str
) -> None:
    name = uuid.uuid4().hex
    far = dav.storage.endpoint("data", bearer_token=servers.password())
    if side == "source":
        hashes = dav.fill("data", FILES)
        method, ends = "GET", {"source": far, "destination": s3.endpoint(name)}
    else:
        hashes = s3.fill(f"bucket/{name}", FILES)
        method, ends = "PUT", {"source": s3.endpoint(name), "destination": far}
    request = {**ends, "options": {"transfers": 1, "report": "all"}}
    # From then on, whatever it is asked: the folder was listed, and a few files were copied.
    dav.fail("*", "*", faulty_webdav.status(401), skip=8)

    problem = function.post(request)

    told = problem.json()
    assert contract.complaints("problem", told) == []
    assert (problem.status_code, told["code"], told["retryable"]) == (502, "partial", False)
    result = told["result"]
    before = {path for path, state in states(result).items() if state == "transferred"}
    assert 0 < len(before) < len(FILES)
    assert states(result) == dict.fromkeys(FILES, "failed") | dict.fromkeys(before, "transferred")
    errors = [file["error"] for file in result["files"] if file["state"] == "failed"]
    assert {(e["code"], e["retryable"], e["side"]) for e in errors} == {
        ("authentication_failed", False, side)
    }
    assert [(e["code"], e["count"]) for e in result["errors"]] == [
        ("authentication_failed", len(FILES) - len(before))
    ]
    assert result["attempts"] == 1
    assert max(Counter(request.path for request in dav.seen(method)).values()) == 1
    arrived = s3.hashes(f"bucket/{name}") if side == "source" else dav.hashes("data")
    assert arrived == {path: hashes[path] for path in before}

    dav.heal()
    again = function.post(request)

    assert again.status_code == 200, again.text
    assert states(again.json()) == dict.fromkeys(FILES, "transferred") | dict.fromkeys(
        before, "skipped"
    )
    sent = {request.path for request in dav.seen(method)}
    expected = {f"/data/{path}" for path in FILES if path not in before}
    if GATEWAY and side == "destination":  # beside the files, under names of their own
        sent, expected = ({path.rpartition("/")[0] for path in paths} for paths in (sent, expected))
        assert len(dav.seen(method)) == len(FILES) - len(before)
    assert sent == expected
    arrived = s3.hashes(f"bucket/{name}") if side == "source" else dav.hashes("data")
    assert arrived == hashes
