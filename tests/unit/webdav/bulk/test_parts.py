"""Bulk requests as they are written, and their answers as they are read."""

from __future__ import annotations

import hashlib
import json
from email import message_from_bytes

import pytest

from efss_transfer.webdav.bulk import parts
from efss_transfer.webdav.bulk.parts import BulkFile
from efss_transfer.webdav.http.exchange import Held


def test_each_part_has_its_path_time_hashes_and_bytes() -> None:
    files = [
        BulkFile(("a",), "/to/a ä", Held(b"x\r\n--b--\r\n"), "1600000000"),
        BulkFile(("b",), "/to/b", Held(b""), None),
    ]
    body = parts.request(files, "b0")
    first, second, end = body.split(b"--b0")[1:]
    assert end == b"--\r\n"
    head, _, content = first.partition(b"\r\n\r\n")
    assert content == b"x\r\n--b--\r\n\r\n"
    told = message_from_bytes(head[2:])
    assert "X-File-Path: /to/a ä\r\n".encode() in head
    assert told["Content-Length"] == "10"
    assert told["X-File-Mtime"] == told["X-OC-Mtime"] == "1600000000"
    content = files[0].upload.data
    assert told["OC-Checksum"] == f"sha1:{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"
    assert told["X-File-MD5"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert b"Mtime" not in second
    assert second.endswith(b"Content-Length: 0\r\n\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "modified", "may"),
    [
        ("/a", "1", True),
        ("/a b", None, True),
        ("/ä☃", "1", True),
        ("/a ", "1", False),
        ("/a\t", "1", False),
        ("/a\r\nX: 1", "1", False),
        ("/a\\b", "1", False),
        ("/\udcff", "1", False),
        ("/a", "1.5", False),
        ("/a", "-1", False),
    ],
)
def test_headers_carry_only_what_arrives_unchanged(
    name: str, modified: str | None, may: bool
) -> None:
    assert parts.may_carry(name, modified) is may


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"/a": {"error": False, "etag": "1f"}}, {"/a": "1f"}),
        ({"/a": {"error": False, "etag": '"1f"'}}, {"/a": "1f"}),
        ({"/a": {"error": True, "message": "no"}}, {"/a": None}),
        ({"/a": {"error": 0, "etag": "1f"}}, {"/a": None}),
        ({"/a": {"etag": "1f"}, "/b": None, "/c": []}, {"/a": None, "/b": None, "/c": None}),
        ({"/a": {"error": False, "etag": ""}}, {"/a": None}),
        ([], {}),
        ([1], None),
        ("x", None),
        (None, None),
    ],
)
def test_file_is_stored_only_if_the_answer_says_so(
    said: object, found: dict[str, str | None] | None
) -> None:
    assert parts.answered(json.dumps(said).encode()) == found


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_other_answers_are_none(body: bytes) -> None:
    assert parts.answered(body) is None
