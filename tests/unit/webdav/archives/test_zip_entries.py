"""Zips as they arrive: whole ones, and such as must not be believed."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile
import zlib
from typing import Any

import pytest

from efss_transfer.webdav.archives import zip_entries
from efss_transfer.webdav.archives.zip_entries import BadArchive
from support.zips import zip_of

CONTENTS = {"a": b"first", "ä/b": b"", "c": bytes(100_000)}


class Body:
    """A body that arrives in pieces of one size."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._piece = piece

    async def read(self, buffer: memoryview) -> int:
        taken, self._data = self._data[: self._piece], self._data[self._piece :]
        buffer[: len(taken)] = taken
        return len(taken)


class Unseekable(io.RawIOBase):
    """A file that a zip is written to as to a connection: with descriptors."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, piece: Any, /) -> int:
        self.data += bytes(piece)
        return len(piece)


def written(*, streamed: bool, kind: int = zipfile.ZIP_STORED, large: bool = False) -> bytes:
    file = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in CONTENTS.items():
            with archive.open(name, "w", force_zip64=large) as entry:
                entry.write(content)
    return file.data if isinstance(file, Unseekable) else file.getvalue()


def read(data: bytes, piece: int = 1000) -> dict[str, bytes]:
    """What is read before the archive turns out to be bad."""
    got: dict[str, bytes] = {}

    async def work() -> None:
        left = {name: len(content) for name, content in CONTENTS.items()}
        async for name, content in zip_entries.files(Body(data, piece), left.get):
            got[name] = content
            del left[name]

    try:
        asyncio.run(work())
    except BadArchive as error:
        got["bad"] = str(error).encode()
    return got


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_stored_files_are_read(streamed: bool, large: bool, piece: int) -> None:
    data = written(streamed=streamed, large=large)
    assert read(data[: 1 << 20], piece) == CONTENTS


def test_every_cut_is_noticed_before_the_file_that_it_cuts() -> None:
    data = written(streamed=True)
    for length in [*range(400), *range(100_000, len(data) - 400, 37)]:
        got = read(data[:length])
        bad = got.pop("bad", None)
        assert got.items() <= CONTENTS.items()
        assert bad or got == CONTENTS


def test_no_changed_byte_is_read() -> None:
    data = written(streamed=True)
    for at in [*range(300), 5000]:
        got = read(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        got.pop("bad", None)
        assert got.items() <= CONTENTS.items()


def test_compressed_entry_is_not_unpacked() -> None:
    got = read(written(streamed=False, kind=zipfile.ZIP_DEFLATED))
    assert got == {"bad": b"an entry is compressed or encrypted"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"other", b"not asked for"),
        (b"../a", b"not asked for"),
        (b"/a", b"not asked for"),
        (b"a/", b"not asked for"),
        (b"\xff", b"not UTF-8"),
        (b"x" * 5000, b"excessive"),
    ],
)
def test_entry_that_was_not_asked_for_ends_the_reading(raw: bytes, said: bytes) -> None:
    sizes = zlib.crc32(b"first"), 5, 5, len(raw), 0
    data = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, *sizes) + raw + b"first"
    got = read(data)
    assert got.keys() == {"bad"}
    assert said in got["bad"]


def test_second_entry_of_a_name_is_not_read() -> None:
    data = written(streamed=True)
    assert read(data[:60] + data).get("bad")


@pytest.mark.parametrize("data", [b"", b"PK", b"<html>", b"PK\5\6" + bytes(18)])
def test_page_is_no_archive_and_an_empty_one_has_no_files(data: bytes) -> None:
    assert ("bad" in read(data)) == (not data.startswith(b"PK\5\6"))


@pytest.mark.parametrize(
    ("folders", "is_bad"),
    [(("f", "f/g"), False), (("f",), True), ((), True), (("f", "f/g", "other"), False)],
)
def test_folders_are_entries_only_where_they_are_expected(
    folders: tuple[str, ...], is_bad: bool
) -> None:
    data = zip_of([("f/", b""), ("f/g/", b""), ("f/g/a", b"first")])
    assert ("bad" in read_below(data, folders)) == is_bad


def test_folder_comes_once_and_without_content() -> None:
    for entries in (
        [("f/", b""), ("f/", b""), ("f/g/a", b"first")],
        [("f/", b"content"), ("f/g/a", b"first")],
    ):
        assert read_below(zip_of(entries), ("f",)).keys() == {"bad"}


def read_below(data: bytes, folders: tuple[str, ...]) -> dict[str, bytes]:
    """What is read of an archive with folders and one file."""
    got: dict[str, bytes] = {}

    async def work() -> None:
        found = zip_entries.files(Body(data, 100), {"f/g/a": 5}.get, folders)
        got.update({name: content async for name, content in found})

    try:
        asyncio.run(work())
    except BadArchive as error:
        got["bad"] = str(error).encode()
    return got
