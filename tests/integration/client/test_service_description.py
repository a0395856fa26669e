"""The service describes itself: its schemas, its front door, its health, and HEAD."""

from __future__ import annotations

import pytest
import requests

from support.contract import NAMES, schema
from support.service_process import Function


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_given_out_as_it_stands_in_its_file(function: Function, name: str) -> None:
    answer = function.get(f"/schema/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/schema+json"
    assert answer.json() == schema(name)


def test_the_front_door_tells_what_there_is(function: Function) -> None:
    answer = function.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    described = answer.json()
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    assert described["storage_types"] == types
    # Of those that the schema knows, the site has switched on no other.
    assert (described["engines"], described["detaching_engines"]) == (["rclone"], [])
    assert set(described["engines"]) < set(schema("request")["properties"]["engine"]["enum"])
    assert set(described["links"]["schemas"]) == set(NAMES)
    for link in (described["links"]["health"], *described["links"]["schemas"].values()):
        assert function.get(link).status_code == 200, link


def test_the_health_names_the_engine_and_its_version(function: Function) -> None:
    answer = function.get("/healthz")
    assert answer.status_code == 200
    health = answer.json()
    assert health["status"] == "ok"
    assert health["engines"]["rclone"]["usable"] is True
    assert tuple(map(int, health["engines"]["rclone"]["version"].split("."))) >= (1, 75, 0)
    assert health["version"] == function.get("/").json()["version"]


@pytest.mark.parametrize("path", ["/", "/healthz", *[f"/schema/{name}" for name in NAMES]])
def test_head_is_as_get_without_the_body(function: Function, path: str) -> None:
    head, get = requests.head(function.url + path, timeout=10), function.get(path)
    assert head.status_code == 200
    assert head.content == b""
    for header in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers[header] == get.headers[header]
    assert int(head.headers["Content-Length"]) == len(get.content)


def test_head_of_nothing_is_as_get_of_nothing(function: Function) -> None:
    head = requests.head(function.url + "/nothing", timeout=10)
    assert (head.status_code, head.content) == (404, b"")


@pytest.mark.parametrize("path", ["/healthz/", "/schema/request/"])
def test_a_slash_behind_a_path_does_no_harm(function: Function, path: str) -> None:
    assert function.get(path).json() == function.get(path.rstrip("/")).json()
