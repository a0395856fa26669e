"""What is kept of a listing says whether bytes may be a file's."""

from __future__ import annotations

import hashlib

import pytest

from efss_transfer.webdav.archives.known_files import LARGEST, KnownFiles, KnownFolder
from efss_transfer.webdav.multistatus import Entry


def entry(size: int | str | None, *checksums: str, status: int | None = None) -> Entry:
    properties = {} if size is None else {"DAV: getcontentlength": str(size)}
    return Entry("", status, (), collection=False, checksums=checksums, properties=properties)


def listed(**entries: Entry) -> KnownFiles:
    files = KnownFiles(1 << 20)
    folder = KnownFolder(1_000)
    for name, one in entries.items():
        folder.add(name, one)
    files.put(("deep", "er"), folder)
    return files


def hashed(algorithm: str, data: bytes) -> str:
    found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    return f"{algorithm.upper()}:{found}"


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256"])
def test_checksum_is_compared(algorithm: str) -> None:
    file = listed(a=entry(3, "ADLER32:1", hashed(algorithm, b"abc"))).find(("deep", "er", "a"))
    assert file is not None
    assert file.is_content(b"abc")
    assert not file.is_content(b"abd")
    assert not file.is_content(b"ab")


def test_size_alone_is_compared_without_a_checksum() -> None:
    file = listed(a=entry(3)).find(("deep", "er", "a"))
    assert file is not None
    assert file.is_content(b"abc")
    assert not file.is_content(b"abcd")


@pytest.mark.parametrize(
    "one",
    [
        entry(LARGEST + 1),
        entry(None),
        entry("x"),
        entry(3, "ADLER32:1"),
        entry(3, "SHA1:none"),
        entry(3, status=404),
    ],
)
def test_file_that_cannot_be_checked_is_left_out(one: Entry) -> None:
    assert listed(a=one, b=entry(1)).find(("deep", "er", "a")) is None


def test_file_is_found_only_in_its_folder() -> None:
    files = listed(**{f"n{number}": entry(number) for number in range(1000)})
    for number in range(1000):
        found = files.find(("deep", "er", f"n{number}"))
        assert found is not None
        assert found.size == number
    assert files.find(("deep", "n1")) is None
    assert files.find(("deep", "er", "other")) is None
    assert files.find(()) is None
    assert files.find(("deep", "er")) is None


def test_later_listing_replaces_an_earlier_one() -> None:
    files = listed(a=entry(1))
    files.put(("deep", "er"), KnownFolder(100))
    assert files.find(("deep", "er", "a")) is None
    again = listed(a=entry(1))
    again.clear()
    assert again.find(("deep", "er", "a")) is None


def test_room_is_kept() -> None:
    files = KnownFiles(10_000)
    folder = KnownFolder(100)
    for number in range(100):
        folder.add(f"{number}", entry(1))
    for number in range(10):
        files.put((f"{number}",), folder)
    known = [number for number in range(10) if files.find((f"{number}", "1")) is not None]
    assert known == [8, 9]


def test_folder_of_more_files_than_may_be_kept_is_read_one_by_one() -> None:
    files = KnownFiles(1_000)
    folder = files.arriving()
    for number in range(100):
        folder.add(f"{number}", entry(1))
    files.put(("huge",), folder)
    assert files.find(("huge", "1")) is None
