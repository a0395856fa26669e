"""Keys of S3 that may do some things and not others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support.misbehaving import s3 as misbehaving
from support.misbehaving.s3 import MisbehavingS3
from support.service_process import Function
from support.storages import Storage


@pytest.fixture
def limited(s3: Storage) -> Iterator[MisbehavingS3]:
    with misbehaving.before(s3) as running:
        yield running


@pytest.mark.field_case("I1")
@pytest.mark.parametrize("denied", [("PUT",), ("PUT", "HEAD")], ids=["create", "create and look"])
@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"files": [{"path": "a.bin"}, {"path": "sub/b.bin"}]},
        {"min_size": 1},
        {"include": ["*.bin"]},
    ],
    ids=["all", "files", "min_size", "include"],
)
def test_key_that_may_not_create_buckets_is_enough(
    selection: dict[str, Any],
    denied: tuple[str, ...],
    function: Function,
    webdav: Storage,
    limited: MisbehavingS3,
) -> None:
    folder = uuid.uuid4().hex
    expected = webdav.fill(folder, {"a.bin": b"1", "sub/b.bin": b"22"})
    limited.denies = lambda method, key: method in denied and not key
    members = {"selection": selection} if selection else {}

    answer = function.copy(webdav.endpoint(folder), limited.storage.endpoint(folder), **members)

    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"]["transferred"] == 2
    assert limited.storage.hashes(f"bucket/{folder}") == expected


@pytest.mark.field_case("I2")
@pytest.mark.parametrize("denied", [("GET",), ("GET", "HEAD")], ids=["read", "read and look"])
@pytest.mark.parametrize("path", ["", "/a.bin"], ids=["folder", "file"])
def test_objects_that_may_not_be_read_are_permission_denied(
    path: str,
    denied: tuple[str, ...],
    function: Function,
    webdav: Storage,
    s3: Storage,
    limited: MisbehavingS3,
) -> None:
    folder = uuid.uuid4().hex
    s3.fill(f"bucket/{folder}", {"a.bin": b"1"})
    limited.denies = lambda method, key: method in denied and "." in key

    answer = function.copy(
        limited.storage.endpoint(folder + path), webdav.endpoint(f"to-{folder}{path}")
    )

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["result"]["errors"]
    assert (error["code"], error["side"]) == ("permission_denied", "source")
    assert not webdav.hashes(f"to-{folder}")
