"""Servers behind a proxy that strips the header Depth: each folder looks empty."""

from __future__ import annotations

import re
import uuid

import pytest

from support import faulty_webdav as faulty
from support.faulty_webdav import Faulty
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

FILES = {"a.bin": b"a", "sub/b.bin": b"bb"}
_LATER_ENTRIES = re.compile(rb"(?<=</d:response>)<d:response>.*(?=</d:multistatus>)", re.DOTALL)


def own_entry(_: str, body: bytes) -> bytes:
    """What is left of a listing if it has the folder alone."""
    return _LATER_ENTRIES.sub(b"", body)


def sized(path: str, body: bytes) -> bytes:
    """The same, with the size that an ownCloud tells of a folder."""
    size = b'<oc:size xmlns:oc="http://owncloud.org/ns">3</oc:size></d:prop>'
    return own_entry(path, body).replace(b"</d:prop>", size)


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("verify", ["none", "size"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_folder_that_is_listed_as_if_alone_is_no_success(
    dry_run: bool, verify: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    whole = dav.fill("web/data", FILES)
    dav.rewrite = own_entry
    to = uuid.uuid4().hex
    options = {"attempts": 1, "verify": verify, "dry_run": dry_run}

    answer = function.copy(dav.endpoint("data", "/web"), s3.endpoint(to), options=options)

    assert answer.status_code in (422, 502), answer.text
    [error] = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == ("unsupported", "source")
    assert "Depth" in error["samples"][0]["message"]

    dav.rewrite = lambda _, body: body
    answer = function.copy(dav.endpoint("data", "/web"), s3.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{to}") == whole


def test_whole_storage_that_has_a_size_and_no_entries_is_warned_of(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    """Sizes lag behind, so it may well be empty."""
    dav.fill("", FILES)
    dav.rewrite = sized
    answer = function.copy(dav.endpoint("/"), s3.endpoint(uuid.uuid4().hex))
    assert answer.status_code == 200, answer.text
    [warning] = answer.json()["warnings"]
    assert warning["code"] == "listing_unchecked"
    assert "3 bytes" in warning["samples"][0]["message"]


@pytest.mark.parametrize("parent", ["listed", "refused"])
def test_empty_folder_is_copied(parent: str, function: Function, dav: Faulty, s3: Storage) -> None:
    dav.fill("web/beside", FILES)
    dav.folders.add("/web/data")
    if parent == "refused":
        dav.fail("PROPFIND", "/web", faulty.status(403))
    answer = function.copy(dav.endpoint("data", "/web"), s3.endpoint(uuid.uuid4().hex))
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()
