"""The files in schema/examples are documentation, and hold the schema to what it promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.contract import request_parser
from efss_transfer.model.errors import InvalidRequest
from efss_transfer.model.request import Endpoint
from efss_transfer.site.overlap import check_distinct
from support.contract import EXAMPLES, NAMES, complaints, schema

VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))
STORAGES = set(schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"])


def of_the_site(_: str, document: Any) -> Endpoint:
    """Takes the place of a site, which has every storage."""
    return Endpoint("s3", document.get("parameters", {}), document["path"], storage="x")


def load(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def texts(value: Any) -> Iterator[str]:
    """Every text among the values of a document; names of members are no values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def with_examples(part: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Every subschema that has examples, and where it stands."""
    if isinstance(part, dict):
        if isinstance(part.get("examples"), list):
            yield pointer, part["examples"]
        for name, below in part.items():
            if name not in ("examples", "default", "const", "enum"):
                yield from with_examples(below, f"{pointer}/{name}")
    elif isinstance(part, list):
        for index, below in enumerate(part):
            yield from with_examples(below, f"{pointer}/{index}")


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_valid_example_is_accepted_unchanged(file: Path) -> None:
    document = load(file)

    parsed = request_parser.parse(file.read_bytes(), of_the_site)
    check_distinct(parsed)

    assert parsed.id == document.get("id")
    for end, given in (
        (parsed.source, document["source"]),
        (parsed.destination, document["destination"]),
    ):
        assert end.type == given.get("type", "s3")
        # A list of words is one text.
        words = {
            name: " ".join(it) if isinstance(it, list) and isinstance(it[0], str) else it
            for name, it in given.get("parameters", {}).items()
        }
        assert {**end.parameters, **end.lists} == words
        assert end.path == given.get("path", "")


def test_valid_examples_show_every_storage_type() -> None:
    shown = {load(file)[end].get("type") for file in VALID for end in ("source", "destination")}
    # And one that the site has configured, which has no type in a request.
    assert shown == STORAGES | {None}


def test_valid_examples_show_every_parameter() -> None:
    shown: dict[str, set[str]] = {}
    for file in VALID:
        for end in ("source", "destination"):
            given = load(file)[end]
            if "type" not in given:
                continue
            shown.setdefault(given["type"], set()).update(given["parameters"])
    for storage, names in shown.items():
        described = schema("request")["$defs"][f"{storage.replace(' ', '_')}_parameters"]
        assert names == set(described["properties"]), storage


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_invalid_example_is_refused_for_exactly_its_reasons(file: Path) -> None:
    example = load(file)
    assert example.keys() == {"description", "request", "expected"}

    with pytest.raises(InvalidRequest) as refused:
        request_parser.parse(json.dumps(example["request"]).encode())

    reported = [
        {"pointer": violation.pointer, "keyword": violation.keyword}
        for violation in refused.value.violations
    ]
    assert sorted(reported, key=str) == sorted(example["expected"], key=str)

    # No value comes back. What the schema itself says, such as a member's name, is no secret.
    known = json.dumps(schema("request"), ensure_ascii=False)
    secret = [text for text in texts(example["request"]) if len(text) > 3 and text not in known]

    told = [violation.message for violation in refused.value.violations] + [str(refused.value)]

    assert [text for text in secret for message in told if text in message] == []


def test_invalid_examples_contain_canaries() -> None:
    canaries = [text for file in INVALID for text in texts(load(file)) if "canary" in text]
    assert len(canaries) > 50


def test_examples_are_distinct() -> None:
    descriptions = {json.dumps(load(file)["request"]) for file in INVALID}
    assert len(descriptions) == len(INVALID)
    assert len({file.read_bytes() for file in VALID}) == len(VALID)


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_a_schema_fit_their_subschemas(name: str) -> None:
    illustrated = dict(with_examples(schema(name)))
    assert illustrated
    wrong = {
        pointer: found
        for pointer, examples in illustrated.items()
        for example in examples
        if (found := complaints(name, example, pointer))
    }
    assert wrong == {}
    assert [pointer for pointer, examples in illustrated.items() if not examples] == []


@pytest.mark.parametrize("name", NAMES)
def test_schema_refers_to_no_other(name: str) -> None:
    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from (value for key, value in part.items() if key == "$ref")
            for below in part.values():
                yield from references(below)
        elif isinstance(part, list):
            for below in part:
                yield from references(below)

    assert {it for it in references(schema(name)) if not it.startswith("#/$defs/")} == set()


@pytest.mark.parametrize("name", ["event", "problem"])
def test_shared_definitions_are_equal(name: str) -> None:
    whole = schema("result")
    shared = schema(name)["$defs"].keys() & whole["$defs"].keys() - {"result", "file"}
    assert len(shared) > 6
    for part in shared:
        assert schema(name)["$defs"][part] == whole["$defs"][part], part


def test_problem_contains_the_result_schema() -> None:
    plain = {key: it for key, it in schema("result").items() if key not in ("$id", "$schema")}
    del plain["$defs"]
    assert schema("problem")["$defs"]["result"] == plain
    assert schema("problem")["$defs"]["file"] == schema("result")["$defs"]["file"]


def test_site_schema_has_the_storage_types_of_requests() -> None:
    known = schema("request")["$defs"]["endpoint"]["properties"]["type"]
    assert schema("site")["$defs"]["storage_type"] == known
