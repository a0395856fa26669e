"""What is kept of a listing of oCIS says which id a file has."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from efss_transfer.webdav.archives.identified_files import IdentifiedFiles, IdentifiedFolder
from efss_transfer.webdav.archives.known_files import LARGEST
from efss_transfer.webdav.multistatus import Entry, Propstat

SPACE = "1284d238-aa92-42ce-bdc4-0b0000009157$4c510ada-c86b-4815-8820-42cdf82c3d51!"
UUID = "8f3c8b7a-0000-4cc1-a7d8-1f0b1c9a2e55"
SHA1 = "SHA1:" + hashlib.sha1(b"abc", usedforsecurity=False).hexdigest()


def entry(file_id: str | None, size: int = 3, *checksums: str, status: int | None = None) -> Entry:
    properties = {"DAV: getcontentlength": str(size)}
    if file_id is not None:
        properties["http://owncloud.org/ns fileid"] = file_id
    propstats = () if status is None else (Propstat(status, properties),)
    sums = checksums or (SHA1,)
    return Entry("", None, propstats, collection=False, checksums=sums, properties=properties)


def listed(**entries: Entry) -> IdentifiedFiles:
    files = IdentifiedFiles(1 << 20)
    folder = files.arriving()
    for name, one in entries.items():
        folder.add(name, one)
    files.put(("deep", "er"), folder)
    return files


def test_id_size_and_checksum_are_kept() -> None:
    found = listed(a=entry(SPACE + UUID)).find(("deep", "er", "a"))
    assert found is not None
    assert (found.file_id, found.size) == (SPACE + UUID, 3)
    assert found.is_content(b"abc")
    assert not found.is_content(b"abd")


@pytest.mark.parametrize(
    "one",
    [
        entry(None),
        entry(""),
        entry("4711"),
        entry(SPACE),
        entry(UUID),
        entry(SPACE + UUID.upper()),
        entry(SPACE + UUID + "x"),
        entry("ä!" + UUID),
        entry("a b!" + UUID),
        entry("x" * 300 + "!" + UUID),
        entry("another$space!" + UUID),
        entry(SPACE + UUID, LARGEST + 1),
        entry(SPACE + UUID, 3, "MD5:" + "0" * 32),
        entry(SPACE + UUID, 3, "ADLER32:1"),
        entry(SPACE + UUID, 3, status=425),
    ],
)
def test_file_without_a_known_id_or_hash_is_read_by_itself(one: Entry) -> None:
    files = listed(b=entry(SPACE + UUID), a=one)
    assert files.find(("deep", "er", "a")) is None
    assert files.find(("deep", "er", "b")) is not None


def test_empty_file_without_a_checksum_is_read_by_itself() -> None:
    files = IdentifiedFiles(1 << 20)
    folder = files.arriving()
    properties = dict(entry(SPACE + UUID, 0).properties)
    folder.add("a", Entry("", None, (), collection=False, properties=properties))
    files.put((), folder)
    assert files.find(("a",)) is None


def test_each_of_many_files_has_its_own_id() -> None:
    ids = {f"n{number}": SPACE + str(uuid.UUID(int=number * 7)) for number in range(1000)}
    files = listed(**{name: entry(one) for name, one in ids.items()})
    for name, one in ids.items():
        found = files.find(("deep", "er", name))
        assert found is not None
        assert found.file_id == one
    for path in (("deep", "n1"), ("deep", "er", "other"), (), ("deep", "er")):
        assert files.find(path) is None


def test_later_listing_replaces_an_earlier_one() -> None:
    files = listed(a=entry(SPACE + UUID))
    files.put(("deep", "er"), IdentifiedFolder(100))
    assert files.find(("deep", "er", "a")) is None
    again = listed(a=entry(SPACE + UUID))
    again.clear()
    assert again.find(("deep", "er", "a")) is None


def test_room_is_kept() -> None:
    files = IdentifiedFiles(16_000)
    for number in range(10):
        folder = IdentifiedFolder(100)
        for one in range(100):
            folder.add(f"{one}", entry(SPACE + str(uuid.UUID(int=one))))
        files.put((f"{number}",), folder)
    known = [number for number in range(10) if files.find((f"{number}", "1")) is not None]
    assert known == [8, 9]


def test_folder_of_more_files_than_may_be_kept_is_read_one_by_one() -> None:
    files = IdentifiedFiles(4_000)
    folder = files.arriving()
    for number in range(100):
        folder.add(f"{number}", entry(SPACE + str(uuid.UUID(int=number))))
    files.put(("huge",), folder)
    assert files.find(("huge", "1")) is None
