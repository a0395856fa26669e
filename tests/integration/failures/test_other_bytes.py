"""Servers that store or send other bytes, or refuse many files at the same time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support.faulty_webdav import status
from support.misbehaving import webdav as misbehaving_webdav
from support.misbehaving.s3 import MisbehavingS3
from support.misbehaving.troubles import Kind, Trouble
from support.misbehaving.webdav import MisbehavingDav
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

VERIFY = ["none", "size", "checksum", "download"]


@pytest.fixture
def dav() -> Iterator[MisbehavingDav]:
    with misbehaving_webdav.serving() as running:
        yield running


def failed_copy(function: Function, source: Any, destination: Any, verify: str) -> dict[str, str]:
    """The state of each file of a copy that must not succeed."""
    options = {"verify": verify, "attempts": 1, "report": "all"}
    answer = function.copy(source, destination, options=options)
    assert answer.status_code in (422, 502), answer.text
    return {file["path"]: file["state"] for file in checked_result(answer)["files"]}


@pytest.mark.field_case("K14")
@pytest.mark.parametrize("verify", VERIFY)
@pytest.mark.parametrize("kind", [Kind.WRITE_CHANGED, Kind.WRITE_SHORT, Kind.WRITE_LOST])
def test_object_that_is_stored_otherwise_is_no_success(
    kind: Kind, verify: str, function: Function, s3: Storage, odd: MisbehavingS3
) -> None:
    folder = uuid.uuid4().hex
    s3.fill(f"bucket/{folder}", {"a.bin": b"a" * 100, "b.bin": b"b" * 5000})
    odd.troubles.plan([Trouble(kind, f"to-{folder}")])

    states = failed_copy(
        function, s3.endpoint(folder), odd.storage.endpoint(f"to-{folder}"), verify
    )

    assert set(states.values()) == {"failed"}


@pytest.mark.field_case("K14")
@pytest.mark.parametrize("verify", VERIFY)
@pytest.mark.parametrize("kind", [Kind.READ_SHORT, Kind.READ_CUT, Kind.READ_CHANGED])
def test_object_that_is_sent_otherwise_is_no_success(
    kind: Kind, verify: str, function: Function, s3: Storage, odd: MisbehavingS3
) -> None:
    folder = uuid.uuid4().hex
    expected = s3.fill(f"bucket/{folder}", {"a.bin": b"a" * 100, "b.bin": b"b" * 5000})
    odd.troubles.plan([Trouble(kind, f"{folder}/b.bin")])

    states = failed_copy(
        function, odd.storage.endpoint(folder), s3.endpoint(f"to-{folder}"), verify
    )

    assert states == {"a.bin": "transferred", "b.bin": "failed"}
    assert s3.hashes(f"bucket/to-{folder}").get("a.bin") == expected["a.bin"]


@pytest.mark.parametrize("code", [507, pytest.param(403, marks=pytest.mark.slow)])
def test_many_files_that_are_refused_at_once_are_each_reported(
    code: int, function: Function, s3: Storage, dav: MisbehavingDav
) -> None:
    folder = uuid.uuid4().hex
    files = {f"d{number % 9}/f{number}.bin": b"%d" % number * 3000 for number in range(120)}
    s3.fill(f"bucket/{folder}", files)
    dav.fail("PUT", "*", status(code))
    options = {"attempts": 1, "transfers": 32, "report": "all"}

    answer = function.copy(s3.endpoint(folder), dav.endpoint(folder), options=options)

    assert answer.status_code in (422, 507), answer.text
    result = checked_result(answer)
    assert result["totals"]["files"] == {"transferred": 0, "skipped": 0, "failed": 120}
    assert {file["path"] for file in result["files"]} == set(files)
    assert not dav.hashes(folder)
