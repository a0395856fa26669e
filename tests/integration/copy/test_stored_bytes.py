"""Files arrive as they are stored, without the WebDAV gateway as well: encodings and sizes."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from typing import Final

import pytest

from support import faulty_webdav, http_index, sizeless
from support.faulty_webdav import Faulty
from support.service_process import Function
from support.storages import Storage, digest

TABLE: Final = b"a,b,c\n" * 10_000
STORED: Final = gzip.compress(TABLE)
PATH: Final = "data/table.csv.gz"
FILES: Final = {PATH: STORED, "data/plain.txt": b"plain"}
EXPECTED: Final = {"table.csv.gz": digest(STORED), "plain.txt": digest(b"plain")}


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        yield running


@pytest.mark.field_case("B1", variant="an HTTP index with x-gzip and br, to SFTP")
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br"])
@pytest.mark.parametrize("to", ["s3", "sftp", "wsgidav"])
def test_file_that_a_web_server_sends_with_an_encoding_arrives_as_it_is_stored(
    to: str, encoding: str, function: Function, storages: dict[str, Storage], folder: str
) -> None:
    base = "bucket/" if to == "s3" else ""
    with http_index.serving(FILES) as index:
        index.encodings[PATH] = encoding
        for _ in range(2):
            answer = function.copy(index.endpoint("data/"), storages[to].endpoint(folder))
            assert answer.status_code == 200, answer.text
            assert storages[to].hashes(base + folder) == EXPECTED


@pytest.mark.field_case("B1")
@pytest.mark.parametrize("by", ["its path", "selection.files"])
def test_single_file_with_an_encoding_arrives_as_it_is_stored(
    by: str, function: Function, s3: Storage, folder: str
) -> None:
    with http_index.serving(FILES) as index:
        index.encodings[PATH] = "gzip"
        if by == "its path":
            answer = function.copy(index.endpoint(PATH), s3.endpoint(f"{folder}/"))
        else:
            listed = {"files": [{"path": "table.csv.gz"}]}
            answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), selection=listed)
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == {"table.csv.gz": digest(STORED)}


@pytest.mark.field_case("B1", variant="WebDAV without the gateway")
@pytest.mark.parametrize("verify", ["none", "size", "download"])
def test_webdav_file_with_an_encoding_arrives_as_it_is_stored_without_the_gateway(
    verify: str, direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    dav.fill("data", {"table.csv.gz": STORED, "plain.txt": b"plain"})
    dav.fail("GET", "*.gz", faulty_webdav.status(200, STORED, Content_Encoding="gzip"))
    for _ in range(2):
        answer = direct.copy(dav.endpoint("data"), s3.endpoint(folder), options={"verify": verify})
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/{folder}") == EXPECTED


@pytest.mark.field_case("C2")
@pytest.mark.parametrize("size", [0, 1, 300_000])
@pytest.mark.parametrize("to", ["s3", "sftp", "wsgidav"])
def test_file_without_a_size_arrives_whole_and_is_counted(
    to: str, size: int, function: Function, storages: dict[str, Storage], folder: str
) -> None:
    content = os.urandom(size)
    with sizeless.serving(content) as source:
        answer = function.copy(source, storages[to].endpoint(folder), options={"report": "all"})
    assert answer.status_code == 200, answer.text
    base = "bucket/" if to == "s3" else ""
    assert storages[to].hashes(base + folder) == {"f.bin": digest(content)}
    assert answer.json()["totals"]["files"]["transferred"] == 1


@pytest.mark.field_case("C2")
def test_plan_says_that_a_size_is_unknown(function: Function, s3: Storage, folder: str) -> None:
    with sizeless.serving(b"12345") as source:
        answer = function.post({"source": source, "destination": s3.endpoint(folder)}, "/plan")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["files"], answer.json()["unsized"]) == (1, 1)
