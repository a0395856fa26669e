"""Listings without end: the answer comes in time, names what hung, and the memory is bounded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from support import endless, service_process
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest
from support.watching import Watching

pytestmark = pytest.mark.field_case(
    "G4", variant="a bucket, an index, FTP and nested folders without end"
)

SLOW: Final = pytest.mark.slow
MIB: Final = 1 << 20
MARGIN: Final = 8.0  # the other tests need the processors, too
GROWTH: Final = 64 * MIB
MEMORY: Final = 256 * MIB


class Memory(Watching):
    """How much the service's Python grows, and how large its rclone is."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._function = function
        self._worker = function.worker()
        self._before = self._worker.memory_info().rss
        self.growth = self.rclone = 0

    def look(self) -> None:
        self.growth = max(self.growth, self._worker.memory_info().rss - self._before)
        for process in self._function.daemons():
            with suppress(psutil.NoSuchProcess):
                self.rclone = max(self.rclone, process.memory_info().rss)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Function]:
    """A service with little memory for rclone."""
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", MEMORY_BYTES=str(MEMORY)) as running:
        yield running


def copied(
    function: Function, source: Any, destination: Any, seconds: float
) -> tuple[Any, Memory, float]:
    began = time.monotonic()
    with Memory(function) as memory:
        answer = function.post(
            {
                "source": source,
                "destination": destination,
                "options": {"deadline_seconds": seconds},
            },
            timeout=600,
        )
    took = time.monotonic() - began
    mib = f"{memory.growth / MIB:.0f} MiB more, rclone {memory.rclone / MIB:.0f} MiB"
    print(f"{answer.status_code} after {took:.1f} s; {mib}")
    return answer, memory, took


def only_sample(answer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The one error, and its first sample."""
    (error,) = checked_result(answer)["errors"]
    return error, error["samples"][0]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("webdav", "gateway"),
        ("webdav, nested", "gateway"),
        ("s3, one token", "gateway"),
        pytest.param("webdav", "direct", marks=SLOW),
        pytest.param("webdav, nested", "direct", marks=SLOW),
        pytest.param("http", "gateway", marks=SLOW),
        pytest.param("http, nested", "gateway", marks=SLOW),
        pytest.param("s3, new tokens", "gateway", marks=SLOW),
    ],
)
def test_answer_comes_by_the_deadline_and_names_the_listing(
    kind: str, mode: str, function: Function, direct: Function, s3: Storage, folder: str
) -> None:
    function = direct if mode == "direct" else function
    with endless.source(kind) as source:
        answer, memory, took = copied(function, source, s3.endpoint(folder), 8)
    assert took < 8 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete")
    assert memory.growth < GROWTH
    error, sample = only_sample(answer)
    assert (error["side"], error["retryable"]) == ("source", True)
    if "nested" in kind:
        assert sample["path"].startswith("d/d/d/d/d")
        assert len(sample["path"]) < 5_000
    else:
        assert "path" not in sample  # it is the folder of the request itself
        assert "had not ended when the time was over" in sample["message"]
    assert s3.hashes(f"bucket/{folder}") == {}
    function.wait_clean()


def test_files_beside_a_folder_without_end_arrive_and_it_is_named(
    function: Function, s3: Storage, folder: str
) -> None:
    with endless.source("webdav, a folder below") as source:
        answer, memory, took = copied(function, source, s3.endpoint(folder), 6)
    assert took < 6 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete")
    assert [one["path"] for one in only_sample(answer)[0]["samples"]] == ["sub"]
    assert s3.hashes(f"bucket/{folder}") == {"good": digest(endless.GOOD)}
    assert memory.growth < GROWTH
    function.wait_clean()


def test_destination_whose_listing_has_no_end(function: Function, s3: Storage, folder: str) -> None:
    s3.fill(f"bucket/{folder}", {"a": b"a"})
    with endless.source("webdav") as destination:
        answer, memory, took = copied(function, s3.endpoint(folder), destination, 5)
    assert took < 5 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete")
    assert memory.growth < GROWTH
    assert {one["side"] for one in checked_result(answer)["errors"]} <= {"destination"}
    function.wait_clean()


def test_ftp_listing_without_end(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with endless.ftp(tmp_path) as source:
        answer, memory, took = copied(function, source, s3.endpoint(folder), 8)
    assert took < 8 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete")
    assert memory.growth < GROWTH
    function.wait_clean()


@pytest.mark.parametrize(
    "kind",
    ["http", pytest.param("s3, new tokens", marks=SLOW), pytest.param("webdav", marks=SLOW)],
)
def test_rclone_whose_memory_is_used_up_says_so(
    kind: str, small: Function, s3: Storage, folder: str
) -> None:
    with endless.source(kind) as source:
        answer, memory, took = copied(small, source, s3.endpoint(folder), 60)
    assert took < 60 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (500, "engine_failed"), answer.text
    assert "rclone used up its memory" in answer.json()["detail"]
    assert answer.json()["retryable"] is False
    assert memory.growth < GROWTH
    assert memory.rclone < MEMORY
    assert s3.hashes(f"bucket/{folder}") == {}
    small.wait_clean()


@pytest.mark.slow
def test_folder_with_five_million_entries(function: Function, s3: Storage, folder: str) -> None:
    with endless.source("s3, five million") as source:
        answer, memory, took = copied(function, source, s3.endpoint(folder), 240)
    assert took < 240 + MARGIN
    assert answer.json()["code"] in ("incomplete", "engine_failed")
    if answer.json()["code"] == "engine_failed":
        assert "rclone used up its memory" in answer.json()["detail"]
    assert memory.growth < GROWTH
    assert memory.rclone < 2 << 30
    function.wait_clean()


@pytest.mark.slow
def test_folders_nested_ten_thousand_deep(function: Function, s3: Storage, folder: str) -> None:
    with endless.source("webdav, nested") as source:
        answer, memory, took = copied(function, source, s3.endpoint(folder), 60)
    assert took < 60 + MARGIN
    assert (answer.status_code, answer.json()["code"]) == (504, "incomplete")
    (sample,) = only_sample(answer)[0]["samples"][:1]
    assert sample["path"].startswith("d/d/d")
    assert len(sample["path"]) < 5_000
    assert memory.growth < GROWTH
    function.wait_clean()
