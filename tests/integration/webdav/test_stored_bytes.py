"""Files arrive as they are stored, whatever a server says of their encoding and their size."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from typing import Any, Final

import pytest

from support import faulty_webdav as faulty
from support.faulty_webdav import Faulty
from support.service_process import Function
from support.storages import Storage, digest


def both(function: Function, source: Any, destination: Any, **options: Any) -> tuple[Any, Any]:
    """The answers to a request, and to the same request again."""
    first = function.copy(source, destination, options=options)
    return first, function.copy(source, destination, options=options)


TABLE: Final = b"a,b,c\n" * 10_000
ENCODED: Final = {
    "gzip": gzip.compress(TABLE),
    "x-gzip": gzip.compress(TABLE),
    "deflate": zlib.compress(TABLE),
    "br": os.urandom(500),
}


@pytest.mark.field_case("B1", variant="deflate and br")
@pytest.mark.parametrize("encoding", ENCODED)
def test_encoded_file_is_copied_as_stored_to_an_object_store(
    encoding: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    # PROPFIND has the stored size. Go's client unpacks gzip: the first attempt fails, leaves the
    # object of the stored size, and the second takes that for the file.
    stored = ENCODED[encoding]
    dav.fill(f"enc/{encoding}", {"table.csv.gz": stored, "plain": b"p"})
    dav.fail("GET", "*.gz", faulty.status(200, stored, Content_Encoding=encoding))
    expected = {"table.csv.gz": digest(stored), "plain": digest(b"p")}
    source, to = dav.storage.endpoint(f"enc/{encoding}"), s3.endpoint(f"enc/{encoding}")
    first, again = both(function, source, to)
    assert first.status_code == 200, first.text
    assert first.json()["attempts"] == 1
    assert s3.hashes(f"bucket/enc/{encoding}") == expected
    assert again.json()["totals"]["files"] == {"transferred": 0, "skipped": 2, "failed": 0}


@pytest.mark.field_case("B1")
def test_encoded_file_is_copied_as_stored_between_two_servers(
    function: Function, dav: Faulty, webdav: Storage
) -> None:
    stored = ENCODED["gzip"]
    dav.fill("enc", {"table.csv.gz": stored})
    dav.fail("GET", "*.gz", faulty.status(200, stored, Content_Encoding="gzip"))
    source, to = dav.storage.endpoint("enc"), webdav.endpoint("enc")
    first, again = both(function, source, to, verify="download", compare="size")
    assert first.status_code == 200, first.text
    assert webdav.hashes("enc") == {"table.csv.gz": digest(stored)}
    assert again.json()["totals"]["files"]["skipped"] == 1


LENGTH: Final = re.compile(rb"<d:getcontentlength>\d+</d:getcontentlength>")
LENGTHS: Final = {
    "missing": b"",
    "empty": b"<d:getcontentlength/>",
    "0 with content": b"<d:getcontentlength>0</d:getcontentlength>",
    "-1": b"<d:getcontentlength>-1</d:getcontentlength>",
    "no number": b"<d:getcontentlength>unknown</d:getcontentlength>",
    "a fraction": b"<d:getcontentlength>4.0</d:getcontentlength>",
}
FILES: Final = {"a": b"1234", "sub/large": os.urandom(300_000), "empty": b""}


@pytest.mark.field_case("C1", variant="-1, a word or a fraction for a size")
@pytest.mark.parametrize("length", LENGTHS)
def test_file_arrives_whole_although_its_listing_has_no_size(
    length: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    # rclone stores a file of 0 bytes, which passes verification by size and by checksum.
    expected = dav.fill("data", FILES)
    dav.rewrite = lambda _, body: LENGTH.sub(LENGTHS[length], body)
    to = f"length/{list(LENGTHS).index(length)}"
    answer = function.copy(
        dav.storage.endpoint("data"), s3.endpoint(to), options={"verify": "size"}
    )
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{to}") == expected
    document = answer.json()
    assert document["totals"]["files"] == {"transferred": 3, "skipped": 0, "failed": 0}


@pytest.mark.field_case("C1")
@pytest.mark.parametrize("length", ["missing", "0 with content"])
def test_second_request_skips_files_whose_listing_has_no_size(
    length: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fill("data", FILES)
    dav.rewrite = lambda _, body: LENGTH.sub(LENGTHS[length], body)
    to = s3.endpoint(f"length-again/{list(LENGTHS).index(length)}")
    first, again = both(function, dav.storage.endpoint("data"), to)
    assert first.status_code == 200, first.text
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"]["skipped"] == len(FILES)


@pytest.mark.parametrize("head", [405, 501, 200])
def test_file_arrives_whole_although_neither_listing_nor_head_has_its_size(
    head: int, function: Function, dav: Faulty, s3: Storage
) -> None:
    expected = dav.fill("data", FILES)
    dav.rewrite = lambda _, body: LENGTH.sub(b"", body)
    dav.fail("HEAD", "*", faulty.status(head))
    to = f"no-head/{head}"
    answer = function.copy(dav.storage.endpoint("data"), s3.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{to}") == expected


@pytest.mark.field_case("C2")
@pytest.mark.parametrize("length", ["listed", "missing", "0 with content"])
def test_body_of_unknown_length_arrives_whole(
    length: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    expected = dav.fill("data", FILES)
    dav.chunked = True
    if length != "listed":
        dav.rewrite = lambda _, body: LENGTH.sub(LENGTHS[length], body)
    to = f"chunked/{length.split()[0]}"
    answer = function.copy(
        dav.storage.endpoint("data"), s3.endpoint(to), options={"verify": "download"}
    )
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{to}") == expected


def test_body_of_unknown_length_that_breaks_off_is_no_file(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fill("data", {"good": b"1", "cut": os.urandom(300_000)})
    dav.chunked = True
    dav.fail("GET", "/data/cut", faulty.truncate(100_000))
    answer = function.copy(
        dav.storage.endpoint("data"), s3.endpoint("chunked-cut"), options={"attempts": 1}
    )
    assert answer.json()["code"] == "partial"
    (error,) = answer.json()["result"]["errors"]
    assert (error["side"], error["retryable"]) == ("source", True)
    assert s3.hashes("bucket/chunked-cut") == {"good": digest(b"1")}
