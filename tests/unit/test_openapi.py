"""The OpenAPI description is valid, complete, and made of the schemas themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from contract import EXAMPLES
from efss_transfer import openapi, schemas
from efss_transfer.errors import CODES

VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))


@pytest.fixture(scope="module")
def described() -> Any:
    return json.loads(json.dumps(openapi.description()))


def test_it_is_openapi(described: Any) -> None:
    validate(described)
    assert described["openapi"].startswith("3.1")


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_every_reference_leads_to_a_component(described: Any) -> None:
    for reference in set(references(described)):
        part = described
        for token in reference.removeprefix("#/").split("/"):
            part = part[token.replace("~1", "/").replace("~0", "~")]


def test_every_status_and_code_stands_there(described: Any) -> None:
    for path, never in (("/", {"too_large"}), ("/plan", set[str]())):
        responses = described["paths"][path]["post"]["responses"]
        for name, code in CODES.items():
            # Nobody reads the one, and the other is for paths that are none.
            if name not in {"cancelled", "not_found"} | never:
                assert f"`{name}`" in responses[str(code.status)]["description"]


def test_every_schema_has_its_path(described: Any) -> None:
    assert {f"/schema/{name}" for name in schemas.NAMES} < set(described["paths"])


def test_a_plans_request_is_a_transfers_and_what_to_reckon_with(described: Any) -> None:
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/plan-request", "components": described["components"]}
    )
    for file in VALID:
        request = json.loads(file.read_text("utf-8"))
        assert validator.is_valid(request)
        assert validator.is_valid({**request, "plan": {"rate": 1, "seconds": 1}})
        assert not validator.is_valid({**request, "plan": {"rate": 0}})
        assert not validator.is_valid({**request, "plans": {}})


@pytest.mark.parametrize("file", [*VALID, *INVALID], ids=lambda file: file.stem)
def test_its_request_takes_what_the_schema_takes(described: Any, file: Any) -> None:
    example = json.loads(file.read_text("utf-8"))
    document = example.get("request", example)
    # These keywords are our own: no schema can tell.
    told = {error["keyword"] for error in example.get("expected", [])}
    fits = file in VALID or told <= {"distinct", "format", "order"}
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/request", "components": described["components"]}
    )
    assert validator.is_valid(document) == fits
