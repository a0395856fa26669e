"""Buckets of the destination: a missing one is an error, unless the request asks for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support.service_process import Function
from support.storages import Storage, gcs


@pytest.fixture(scope="module")
def google() -> Iterator[Storage]:
    with gcs() as storage:
        yield storage


def buckets(s3: Storage) -> set[str]:
    return {one["Name"] for one in s3.details["client"].list_buckets()["Buckets"]}


def missing(end: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A bucket that does not exist, and a path in it."""
    name = f"missing-{uuid.uuid4().hex[:8]}"
    return name, {**end, "path": f"{name}/to"}


@pytest.mark.field_case("I6")
@pytest.mark.parametrize(
    "options", [{}, {"dry_run": True}, {"verify": "size"}], ids=["copy", "dry-run", "verify"]
)
def test_missing_bucket_is_an_error_and_is_not_created(
    function: Function, webdav: Storage, s3: Storage, options: dict[str, Any]
) -> None:
    webdav.fill("buckets", {"a": b"1", "b/c": b"2"})
    name, to = missing(s3.endpoint())

    answer = function.copy(webdav.endpoint("buckets"), to, options=options)

    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "destination_not_found"
    assert name in problem["detail"]
    assert "create_bucket" in problem["detail"]
    assert problem["result"]["errors"][0]["side"] == "destination"
    assert problem["result"]["totals"]["files"]["transferred"] == 0
    assert name not in buckets(s3)


def test_plan_for_a_missing_bucket_is_an_error(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("buckets", {"a": b"1"})
    name, to = missing(s3.endpoint())
    body = {"source": webdav.endpoint("buckets"), "destination": to}

    answer = function.post(body, path="/plan")

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "destination_not_found"
    assert name not in buckets(s3)


@pytest.mark.parametrize("selection", [{}, {"files": [{"path": "a"}, {"path": "b/c"}]}])
def test_bucket_is_created_if_the_request_says_so(
    function: Function, webdav: Storage, s3: Storage, selection: dict[str, Any]
) -> None:
    expected = webdav.fill("buckets", {"a": b"1", "b/c": b"2"})
    name, to = missing(s3.endpoint())

    answer = function.copy(
        webdav.endpoint("buckets"), to, selection=selection, options={"create_bucket": True}
    )

    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"{name}/to") == expected


def test_missing_bucket_of_google_cloud_storage_is_an_error(
    function: Function, webdav: Storage, google: Storage
) -> None:
    webdav.fill("buckets", {"a": b"1"})
    _, to = missing(google.endpoint())

    answer = function.copy(webdav.endpoint("buckets"), to)

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "destination_not_found"


def test_file_for_a_missing_bucket_is_an_error(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("buckets", {"a": b"1"})
    name, to = missing(s3.endpoint())

    answer = function.copy(webdav.endpoint("buckets/a"), {**to, "path": f"{name}/a"})

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "destination_not_found"
    assert name not in buckets(s3)
