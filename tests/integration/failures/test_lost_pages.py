"""S3 servers whose later pages of a listing are none, which rclone takes for its end."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from support import paged_s3
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

LATER = {
    "JSON": b'{"error": "login required"}',
    "page": b"<html><head><title>Log in</title></head><body>Log in</body></html>",
    "nothing": b"",
    "end": b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
}
HUNDREDTHS: dict[str, Any] = {"include": ["*00.bin"]}
BY_FOLDER: dict[str, Any] = {**HUNDREDTHS, "exclude": ["none/**"]}
"""rclone lists each folder by itself to apply these patterns."""


@pytest.mark.field_case("K13", variant="a later page of S3 is JSON, a page or nothing")
@pytest.mark.parametrize(
    ("selection", "later"), [*((HUNDREDTHS, later) for later in LATER), (BY_FOLDER, "JSON")]
)
def test_listing_whose_later_pages_are_none_is_no_success(
    selection: dict[str, Any], later: str, function: Function, webdav: Storage
) -> None:
    folder = uuid.uuid4().hex
    with paged_s3.serving(1_500) as paged:
        paged.later = LATER[later]
        answer = function.copy(
            paged.endpoint("data"),
            webdav.endpoint(folder),
            selection=selection,
            options={"attempts": 1},
        )
        assert answer.status_code in (422, 502), answer.text
        errors = checked_result(answer)["errors"]
        assert {(error["code"], error["side"]) for error in errors} == {("storage_error", "source")}

        paged.later = None
        again = function.copy(paged.endpoint("data"), webdav.endpoint(folder), selection=selection)
        assert again.status_code == 200, again.text
        assert webdav.hashes(folder) == paged.hashes("data", "00.bin")


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("later", ["page", "end"])
def test_plan_is_none_if_later_pages_are_none(
    later: str, function: Function, webdav: Storage
) -> None:
    with paged_s3.serving(2_500) as paged:
        paged.later = LATER[later]
        answer = function.copy(
            paged.endpoint("data"),
            webdav.endpoint(uuid.uuid4().hex),
            options={"attempts": 1, "dry_run": True},
        )
    assert answer.status_code in (422, 502), answer.text


@pytest.mark.parametrize(("count", "pages"), [(900, 1), (997, 2), (1_500, 2), (1_994, 4)])
def test_whole_listing_is_seldom_read_once_more(
    count: int, pages: int, function: Function, webdav: Storage
) -> None:
    """Only one that could have ended with a page of the second listing."""
    options = {"dry_run": True}
    with paged_s3.serving(count) as paged:
        answer = function.copy(
            paged.endpoint("data"), webdav.endpoint(uuid.uuid4().hex), options=options
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["totals"]["files"]["skipped"] == count
        recounts = [query for query in paged.seen if "delimiter" not in query]
        assert len(recounts) == pages, paged.seen


@pytest.mark.field_case("K13", variant="an S3 server that lists 100 objects, whatever is asked for")
def test_server_that_cuts_each_listing_off_is_no_success(
    function: Function, webdav: Storage
) -> None:
    with paged_s3.serving(150) as paged:
        paged.most = 100
        paged.keys += [f"data/z/{number:05}.bin" for number in range(20)]
        paged.folders = ("data/z/",)
        answer = function.copy(
            paged.endpoint("data"), webdav.endpoint(uuid.uuid4().hex), options={"attempts": 1}
        )
    assert answer.status_code in (422, 502), answer.text
    [error] = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == ("storage_error", "source")


def test_listing_of_a_thousand_objects_may_be_cut_off(function: Function, webdav: Storage) -> None:
    """Only a number tells of it: many servers list no more, and say that this is all."""
    options = {"dry_run": True}
    with paged_s3.serving(1_500) as paged:
        paged.most = 1_000
        answer = function.copy(
            paged.endpoint("data"), webdav.endpoint(uuid.uuid4().hex), options=options
        )
    assert answer.status_code == 200, answer.text
    assert [warning["code"] for warning in answer.json()["warnings"]] == ["listing_unchecked"]
