"""What was promised once holds: a request that was valid for version 1 stays valid.

tests/compatibility/v1 is the contract as it was when it was frozen, and is not changed. A
contract that takes less is a version 2, with `$id`s and a folder of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.contract import look_parser, request_parser
from efss_transfer.contract.schemas import NAMES, schema
from efss_transfer.model.errors import RequestError
from efss_transfer.model.request import Endpoint

FROZEN = Path(__file__).parents[2] / "compatibility" / "v1"
REQUESTS = sorted((FROZEN / "requests").glob("*.json"))
OLD = json.loads((FROZEN / "request.schema.json").read_text("utf-8"))
LOOKS = ("list-request", "check-request")
PARAMETERS = [name for name in OLD["$defs"] if name.endswith("_parameters")]

# Keywords that only narrow what is taken: none may come, and none may narrow more.
_LEAST = ("minimum", "minLength", "minItems", "exclusiveMinimum", "minProperties")
_MOST = ("maximum", "maxLength", "maxItems", "exclusiveMaximum", "maxProperties")
_CONDITIONS = ("if", "then", "else", "not", "anyOf", "oneOf", "allOf")
# New conditions that forbid only combinations of members which version 1.0 did not have.
_OF_NEW_MEMBERS = {("webdav_parameters", "allOf")}
# What a schema is told to people by, and what only tools read.
_TOLD = (
    "title",
    "description",
    "examples",
    "default",
    "$comment",
    "$schema",
    "writeOnly",
    "format",
    "errorMessages",
)


def of_the_site(_: str, document: Any) -> Endpoint:
    """Takes the place of a site, which has every storage."""
    return Endpoint("s3", document.get("parameters", {}), document["path"], storage="x")


def resolved(part: Any, whole: Any) -> Any:
    """A subschema with what it refers to, whose keywords hold beside its own."""
    if not isinstance(part, dict) or "$ref" not in part:
        return part
    target = whole
    for token in part["$ref"].removeprefix("#/").split("/"):
        target = target[token]
    beside = {key: value for key, value in part.items() if key != "$ref"}
    return {**resolved(target, whole), **beside}


def narrowed(old: Any, new: Any, at: str = "") -> Iterator[str]:  # noqa: C901 - a case for each keyword
    """Where the new schema takes less than the old, as far as that can be read from both."""
    if isinstance(old, bool) or isinstance(new, bool):
        if new is False and old is not False:
            yield f"{at}: nothing is taken any more"
        return
    old, new = resolved(old, OLD), resolved(new, schema("request"))
    for name, member in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{at}/{name}: is gone"
        else:
            yield from narrowed(member, new["properties"][name], f"{at}/{name}")
    if "items" in new:
        yield from narrowed(old.get("items", True), new["items"], f"{at}/*")
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{at}/{name}: is required now"
    if "enum" in new:
        for value in old.get("enum", ["(anything)"]):
            if value not in new["enum"]:
                yield f"{at}: does not take {value} any more"
    if "const" in new and new["const"] != old.get("const"):
        yield f"{at}: takes only {new['const']} now"
    if "type" in new and not _kinds(old) <= _kinds(new):
        yield f"{at}: is of another type now"
    for keyword in _LEAST:
        if new.get(keyword, float("-inf")) > old.get(keyword, float("-inf")):
            yield f"{at}: {keyword} is higher"
    for keyword in _MOST:
        if new.get(keyword, float("inf")) < old.get(keyword, float("inf")):
            yield f"{at}: {keyword} is lower"
    for keyword in ("pattern", "uniqueItems", "unevaluatedProperties", "additionalProperties"):
        if keyword in new and new[keyword] != old.get(keyword):
            yield f"{at}: {keyword} is another: show that it takes as much, and say so here"
    for name, needed in new.get("dependentRequired", {}).items():
        if name in new.get("properties", {}) and name not in old.get("properties", {}):
            continue  # nobody has sent it
        for member in set(needed) - set(old.get("dependentRequired", {}).get(name, ())):
            yield f"{at}/{name}: needs {member} now"
    # Whether one condition takes less than another cannot be read; that none is new can.
    for keyword in _CONDITIONS:
        if keyword in new and keyword not in old and (at, keyword) not in _OF_NEW_MEMBERS:
            yield f"{at}: {keyword} is new"
    known = {*_LEAST, *_MOST, *_CONDITIONS, *_TOLD, "properties", "items", "required", "enum"}
    known |= {"const", "type", "pattern", "uniqueItems", "unevaluatedProperties", "$id", "$defs"}
    known |= {"additionalProperties", "dependentRequired"}
    for keyword in new.keys() - known:
        yield f"{at}: this test does not know {keyword}"


def _kinds(part: Any) -> set[str]:
    kinds = part.get("type", ["string", "number", "integer", "boolean", "object", "array", "null"])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    return kinds | ({"integer"} if "number" in kinds else set())


def test_frozen_requests_are_still_valid() -> None:
    refused = {}
    for file in REQUESTS:
        try:
            request_parser.parse(file.read_bytes(), of_the_site)
        except RequestError as error:
            refused[file.stem] = error
    assert REQUESTS
    assert refused == {}


def test_frozen_requests_for_a_listing_are_still_valid() -> None:
    files = sorted((FROZEN / "list-requests").glob("*.json"))
    assert files
    for file in files:
        look_parser.parse_list(file.read_bytes(), of_the_site)


def test_frozen_requests_for_a_check_are_still_valid() -> None:
    files = sorted((FROZEN / "check-requests").glob("*.json"))
    assert files
    for file in files:
        look_parser.parse_check(file.read_bytes(), lambda _write: of_the_site)


def test_endpoints_of_a_look_are_those_of_a_transfer() -> None:
    for name in LOOKS:
        for part, described in schema(name)["$defs"].items():
            assert described == schema("request")["$defs"][part], (name, part)


def test_request_schema_is_not_narrowed() -> None:
    assert list(narrowed(OLD, schema("request"))) == []


def test_parameters_of_storage_types_are_not_narrowed() -> None:
    assert PARAMETERS
    for name in PARAMETERS:
        assert list(narrowed(OLD["$defs"][name], schema("request")["$defs"][name], name)) == []


def test_frozen_sets_of_credentials_are_still_sufficient() -> None:
    def alternatives(part: Any) -> list[set[str]]:
        return [set(it["required"]) for it in part.get("anyOf", [])]

    for name in PARAMETERS:
        old = alternatives(OLD["$defs"][name])
        new = alternatives(schema("request")["$defs"][name])
        for needed in old:
            assert any(other <= needed for other in new), (name, needed)


def test_every_storage_type_still_exists() -> None:
    def types(whole: Any) -> set[str]:
        return set(whole["$defs"]["endpoint"]["properties"]["type"]["enum"])

    def written(whole: Any) -> set[str]:
        return set(whole["properties"]["destination"]["then"]["properties"]["type"]["enum"])

    assert types(OLD) <= types(schema("request"))
    assert written(OLD) <= written(schema("request"))


@pytest.mark.parametrize("name", NAMES)
def test_schema_id_has_the_version(name: str) -> None:
    assert schema(name)["$id"] == f"urn:efss-transfer:schema:v1:{name}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"properties": {}}, "/id: is gone"),
        ({"required": ["id", "source", "destination"]}, "/id: is required now"),
        ({"maxProperties": 3}, "maxProperties is lower"),
        ({"not": {}}, "not is new"),
        ({"propertyNames": {}}, "does not know propertyNames"),
        (
            {"properties": {**OLD["properties"], "engine": {"enum": ["fts"]}}},
            "/engine: does not take rclone any more",
        ),
        (
            {"properties": {**OLD["properties"], "id": {"type": "integer", "maxLength": 9}}},
            "/id: maxLength is lower",
        ),
    ],
    ids=["gone", "required", "fewer", "condition", "unknown", "enum", "bound"],
)
def test_narrowed_detects_each_kind_of_change(change: dict[str, Any], told: str) -> None:
    found = list(narrowed(OLD, {**schema("request"), **change}))
    assert any(told in it for it in found), found
