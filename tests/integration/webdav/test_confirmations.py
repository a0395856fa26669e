"""Uploads that a server reports as successful, and did not store as they were sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support import service_process
from support.misbehaving import webdav
from support.misbehaving.troubles import Kind, Trouble
from support.misbehaving.webdav import MisbehavingDav
from support.service_process import Function
from support.storages import Storage

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY, reason="without the gateway rclone asks for each file itself"
)


@pytest.fixture
def odd() -> Iterator[MisbehavingDav]:
    with webdav.serving() as running:
        yield running


def copy(
    function: Function, s3: Storage, odd: MisbehavingDav, files: dict[str, bytes], **options: Any
) -> tuple[Any, dict[str, str]]:
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", files)
    options = {"report": "all", **options}
    return function.copy(s3.endpoint(folder), odd.endpoint("to"), options=options), whole


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize(
    ("kind", "says"),
    [(Kind.WRITE_LOST, "does not list the file"), (Kind.WRITE_SHORT, "lists 1 of 2 bytes")],
)
def test_upload_that_was_not_stored_is_a_failed_file(
    kind: Kind, says: str, count: int, function: Function, s3: Storage, odd: MisbehavingDav
) -> None:
    odd.troubles.plan([Trouble(kind, "to", times=1)])
    answer, whole = copy(function, s3, odd, {f"sub/{n}.bin": b"22" for n in range(count)})
    assert answer.status_code == 502, answer.text
    result = answer.json()["result"]
    assert result["state"] == ("partial" if count > 1 else "failed")
    assert result["totals"]["files"] == {"transferred": count - 1, "skipped": 0, "failed": 1}
    (error,) = result["errors"]
    assert (error["code"], error["side"], error["retryable"]) == (
        "storage_error",
        "destination",
        True,
    )
    assert says in error["samples"][0]["message"]
    failed = error["samples"][0]["path"]
    arrived = odd.hashes("to")
    assert arrived.get(failed) != whole[failed]
    assert {**arrived, failed: whole[failed]} == whole


def test_confirmation_costs_a_request_a_folder(
    function: Function, s3: Storage, odd: MisbehavingDav
) -> None:
    files = {f"{folder}/{n}.bin": b"22" for folder in "abc" for n in range(10)}
    answer, whole = copy(function, s3, odd, files)
    assert answer.status_code == 200, answer.text
    assert odd.hashes("to") == whole
    last = max(number for number, one in enumerate(odd.requests) if one.method == "PUT")
    confirming = odd.requests[last + 1 :]
    assert sorted((one.method, one.path, one.depth) for one in confirming) == [
        ("PROPFIND", f"/to/{folder}", "1") for folder in "abc"
    ]


def test_uploads_that_cannot_be_confirmed_are_no_success(
    function: Function, s3: Storage, odd: MisbehavingDav
) -> None:
    def refuse(path: str, body: bytes) -> bytes:
        is_stored = len(odd.seen("PUT")) == 9
        return b"<html>busy</html>" if is_stored and path == "/to" else body

    odd.rewrite = refuse
    answer, _ = copy(function, s3, odd, {f"{n}.bin": b"22" for n in range(9)})
    assert answer.status_code == 502, answer.text
    (error,) = answer.json()["result"]["errors"]
    assert (error["code"], error["side"]) == ("storage_error", "destination")
    assert "could not be confirmed" in error["samples"][0]["message"]
    assert answer.json()["retryable"] is True
