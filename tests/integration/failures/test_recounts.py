"""Object stores whose listings lack files without a trace, or that send less than they listed."""

from __future__ import annotations

import http.server
import time
import uuid
from typing import Any

import pytest

from support.http_servers import misbehaving
from support.misbehaving.s3 import MisbehavingS3
from support.misbehaving.troubles import JSON, Kind, Trouble
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

FILES = {"a.bin": b"a" * 100, "sub/b.bin": b"b" * 5000, "sub/c.bin": b"c", "sub/deep/d.bin": b"d"}
DOCUMENTS = [Kind.LISTING_JSON, Kind.LISTING_PAGE, Kind.LISTING_EMPTY]


def states(answer: Any) -> dict[str, str]:
    return {file["path"]: file["state"] for file in checked_result(answer)["files"]}


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("verify", ["none", "size"])
@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("to", ["sftp", "s3"])
def test_folder_whose_listing_is_none_is_copied_by_the_names_of_its_files(
    to: str,
    kind: Kind,
    verify: str,
    function: Function,
    storages: dict[str, Storage],
    odd: MisbehavingS3,
) -> None:
    """Another listing has them, and so has an attempt that asks for each."""
    folder, destination = uuid.uuid4().hex, storages[to]
    whole = odd.storage.fill(f"bucket/{folder}", FILES)
    odd.troubles.plan([Trouble(kind, f"{folder}/sub")])

    options = {"verify": verify, "report": "all"}
    answer = function.copy(
        odd.storage.endpoint(folder), destination.endpoint(f"to-{folder}"), options=options
    )

    at = "/".join(filter(None, (destination.base, f"to-{folder}")))
    if answer.status_code == 200:
        assert destination.hashes(at) == whole
    else:
        assert kind is Kind.LISTING_PAGE, answer.text
        assert answer.json()["code"] in ("partial", "storage_error"), answer.text


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("dry_run", [False, True])
def test_each_file_of_folder_whose_listing_is_none_has_failed_in_one_attempt(
    dry_run: bool, kind: Kind, function: Function, webdav: Storage, odd: MisbehavingS3
) -> None:
    folder = uuid.uuid4().hex
    odd.storage.fill(f"bucket/{folder}", FILES)
    odd.troubles.plan([Trouble(kind, f"{folder}/sub")])

    options = {"attempts": 1, "report": "all", "dry_run": dry_run}
    answer = function.copy(odd.storage.endpoint(folder), webdav.endpoint(folder), options=options)

    assert answer.status_code in (422, 502), answer.text
    [group] = checked_result(answer)["errors"]
    assert group["side"] == "source"
    if kind is not Kind.LISTING_PAGE:  # rclone cannot read that, and says so
        failed = {path for path, state in states(answer).items() if state == "failed"}
        assert failed == set(FILES) - {"a.bin"}


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("path", ["", "sub"])
def test_source_whose_listings_are_all_none_is_no_success(
    path: str, kind: Kind, function: Function, webdav: Storage, odd: MisbehavingS3
) -> None:
    folder = uuid.uuid4().hex
    odd.storage.fill(f"bucket/{folder}", FILES)
    source = "/".join(filter(None, (folder, path)))
    odd.troubles.plan([Trouble(kind, source)])

    for selection in ({}, {"include": ["*.none"]}):
        answer = function.copy(
            odd.storage.endpoint(source), webdav.endpoint(folder), selection=selection
        )
        assert answer.status_code in (404, 422, 502), answer.text


@pytest.mark.field_case("K13", variant="a server that has a file of every name")
@pytest.mark.parametrize("path", ["bucket", "bucket/folder", "bucket/folder/"])
@pytest.mark.parametrize("body", [JSON, b"", b"<Error><Code>SlowDown</Code></Error>"])
def test_server_that_is_no_s3_server_is_no_success(
    body: bytes, path: str, function: Function, webdav: Storage, s3: Storage
) -> None:
    def answer_anything(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    with misbehaving(answer_anything) as url:
        source = {"type": "s3", "parameters": {**s3.parameters, "endpoint": url}, "path": path}
        answer = function.copy(source, webdav.endpoint(uuid.uuid4().hex))
    assert answer.status_code in (404, 422, 502), answer.text
    assert answer.json()["code"] != "partial", answer.text


def test_empty_bucket_is_copied(function: Function, webdav: Storage, s3: Storage) -> None:
    bucket = f"empty-{uuid.uuid4().hex}"
    s3.details["client"].create_bucket(Bucket=bucket)
    source = {"type": "s3", "parameters": s3.parameters, "path": bucket}
    answer = function.copy(source, webdav.endpoint(uuid.uuid4().hex))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("key", ["marked/", "marked/sub/", "marked/sub/deep/"])
def test_empty_folder_of_object_store_is_copied(
    key: str, function: Function, webdav: Storage, s3: Storage
) -> None:
    folder = uuid.uuid4().hex
    s3.fill(f"bucket/{folder}", {key: b""})
    answer = function.copy(s3.endpoint(f"{folder}/marked"), webdav.endpoint(folder))
    assert answer.status_code == 200, answer.text


def test_folder_of_which_nothing_is_selected_is_no_failure(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    folder = uuid.uuid4().hex
    s3.fill(f"bucket/{folder}", FILES)
    only = {"include": ["*.none"]}
    answer = function.copy(s3.endpoint(folder), webdav.endpoint(folder), selection=only)
    assert answer.status_code == 200, answer.text


@pytest.mark.field_case("K14")
@pytest.mark.parametrize("verify", ["none", "size", "checksum", "download"])
@pytest.mark.parametrize("selected", ["folder", "file", "listed"])
def test_object_that_is_sent_shorter_is_no_success(
    selected: str, verify: str, function: Function, webdav: Storage, odd: MisbehavingS3
) -> None:
    folder = uuid.uuid4().hex
    odd.storage.fill(f"bucket/{folder}", FILES)
    odd.troubles.plan([Trouble(Kind.READ_SHORT, f"{folder}/sub/b.bin")])
    source = odd.storage.endpoint(f"{folder}/sub/b.bin" if selected == "file" else folder)
    request: dict[str, Any] = {"options": {"verify": verify, "attempts": 1, "report": "all"}}
    if selected == "listed":
        request["selection"] = {"files": [{"path": "a.bin"}, {"path": "sub/b.bin"}]}

    answer = function.copy(source, webdav.endpoint(f"{folder}/"), **request)

    assert answer.status_code in (422, 502), answer.text
    name = "b.bin" if selected == "file" else "sub/b.bin"
    found = states(answer)
    assert {path for path, state in found.items() if state == "failed"} == {name}


@pytest.mark.field_case("K14")
def test_object_that_is_sent_shorter_is_found_beside_files_that_were_there(
    function: Function, webdav: Storage, odd: MisbehavingS3
) -> None:
    folder = uuid.uuid4().hex
    odd.storage.fill(f"bucket/{folder}", FILES)
    ends = odd.storage.endpoint(folder), webdav.endpoint(folder)
    only = {"include": ["*.bin"], "exclude": ["b.bin"]}
    assert function.copy(*ends, selection=only).status_code == 200
    odd.troubles.plan([Trouble(Kind.READ_SHORT, f"{folder}/sub/b.bin")])

    answer = function.copy(*ends, options={"attempts": 1, "report": "all"})

    assert answer.status_code in (422, 502), answer.text
    assert states(answer)["sub/b.bin"] == "failed"


def test_object_that_is_added_during_the_copy_is_no_failure(
    function: Function, webdav: Storage, odd: MisbehavingS3
) -> None:
    """It is the next request's, once its time in seconds is later than that of the copy."""
    folder = uuid.uuid4().hex
    whole = odd.storage.fill(f"bucket/{folder}", FILES)

    def add_late(method: str, key: str) -> bool:
        if method == "GET" and key == f"{folder}/sub/b.bin":
            time.sleep(1 - time.time() % 1)
            odd.behind.fill(f"bucket/{folder}/later", {"e.bin": b"e"})
        return False

    odd.denies = add_late
    answer = function.copy(odd.storage.endpoint(folder), webdav.endpoint(folder))

    assert answer.status_code == 200, answer.text
    arrived = webdav.hashes(folder)
    assert {path: arrived[path] for path in whole} == whole
