"""The caches: bounded in bytes, and never sure of a folder of which a file was dropped."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.memory import Memory, Recent, Stored

MIB = 1 << 20


def test_oldest_entries_are_dropped_and_long_ones_count_more() -> None:
    short: Recent[bool] = Recent(MIB)
    long: Recent[bool] = Recent(MIB)
    for number in range(20_000):
        short.put(f"{number}", value=True)
        long.put(f"{number}/{'ü🎉' * 500}", value=True)
    assert MIB * 0.9 < short.size <= MIB
    assert long.size <= MIB
    assert "0" not in short
    assert "19999" in short
    kept = sum(f"{number}" in short for number in range(20_000))
    assert kept > 10 * sum(f"{number}/{'ü🎉' * 500}" in long for number in range(20_000))


def test_size_returns_to_zero() -> None:
    recent: Recent[object] = Recent()
    values = [None, True, 17, '"etag"', Stored(1, 2, "SHA1:aa", '"e"')]
    for number, value in enumerate(values):
        recent.put(f"{number}", value)
        recent.put(f"{number}", values[-1 - number])
    assert recent.size > 0
    for number in range(len(values)):
        recent.pop(f"{number}")
        recent.pop(f"{number}")
    assert recent.size == 0


def test_failed_uploads_that_are_under_way_are_kept_whatever_the_length_of_their_paths() -> None:
    memory = Memory(room=1 << 16)
    for number in range(256):
        memory.failed.put(f"{number}/{'🎉' * 4000}", value=True)
    assert all(memory.failed.pop(f"{number}/{'🎉' * 4000}") for number in range(256))


def test_folder_is_not_known_in_full_once_a_file_of_it_was_dropped() -> None:
    memory = Memory(room=MIB)
    memory.etags.put("a/first", '"1"')
    memory.listed.put("a", value=True)
    assert memory.is_absent(("a", "other"))
    for number in range(10_000):
        memory.etags.put(f"b/{number}", '"2"')
    assert not memory.is_absent(("a", "first"))
    assert memory.dropped > 0


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_folders_and_their_files_take_no_more_than_the_budget(count: int) -> None:
    code = (
        f"count = {count}"
        """
import asyncio, resource
from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.memory import Memory

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def make(folder):
    return 201

async def run():
    memory, folders = Memory(24 << 20), Folders(make, 4 << 20)
    before = peak()
    for number in range(count):
        folder = ("measurements of a long run", f"{number // 1000:04}", f"day {number % 1000}")
        path = "/".join(folder)
        folders.exists(folder)
        memory.listed.put(path, value=True)
        memory.etags.put(f"{path}/result.dat", '"0123456789abcdef0123456789abcdef"')
    await folders.ensure(("a", "new", "one"))
    assert memory.size <= 24 << 20 and folders.size <= 4 << 20
    assert memory.size + folders.size > 14 << 20
    print(peak() - before)

asyncio.run(run())
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    grown = int(done.stdout)
    assert grown < 28 << 10, f"{grown} KiB more after {count} folders"


def test_folder_that_was_dropped_is_made_again_without_an_error() -> None:
    there: set[str] = set()

    async def make(folder: tuple[str, ...]) -> int:
        path = "/".join(folder)
        if folder[:-1] and "/".join(folder[:-1]) not in there:
            return 409
        if path in there:
            return 405
        there.add(path)
        return 201

    async def run() -> None:
        folders = Folders(make, room=1 << 14)
        for again in range(2):
            for number in range(500):
                await folders.ensure((f"{number % 7}", f"{number}"))
            assert len(there) == 507, again
        assert folders.size <= 1 << 14

    asyncio.run(run())
