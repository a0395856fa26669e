"""The schemas as clients have them who work with Node: by Ajv, and as types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.service.openapi.description import description
from support.contract import EXAMPLES, NAMES, SCHEMA, schema
from support.node import NPM, compiles, node, packages

# Words of our own: what they stand for no schema can tell.
OURS = {"distinct", "format", "order"}


def examples() -> dict[str, dict[str, Any]]:
    """Every example of every schema, and of the examples' folder."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("valid", "invalid"):
        for file in sorted((EXAMPLES / kind).glob("*.json")):
            document = json.loads(file.read_text("utf-8"))
            if kind == "invalid":
                document = document["request"]
            found[f"{kind}/{file.stem}"] = {"schema": "request", "document": document}
    for name in NAMES:
        for index, document in enumerate(schema(name)["examples"]):
            found[f"{name}/{index}"] = {"schema": name, "document": document}
    return found


@pytest.fixture(scope="module")
def told() -> Any:
    return json.loads(node("validate.mjs", SCHEMA, given=examples()))


def test_ajv_in_strict_mode_takes_every_valid_example(told: Any) -> None:
    refused = {
        name: it["errors"]
        for name, it in told.items()
        if not name.startswith("invalid/") and not it["valid"]
    }
    assert len(told) > 120
    assert refused == {}


def test_ajv_finds_every_fault_that_the_service_tells_and_at_the_same_place(told: Any) -> None:
    missed = {}
    for file in sorted((EXAMPLES / "invalid").glob("*.json")):
        errors = {tuple(error) for error in told[f"invalid/{file.stem}"]["errors"]}
        wanted = set()
        for fault in json.loads(file.read_text("utf-8"))["expected"]:
            pointer, keyword = fault["pointer"], fault["keyword"]
            if keyword == "unevaluatedProperties":  # Ajv names the object, and not the member
                pointer = pointer.rpartition("/")[0]
            if keyword not in OURS:
                wanted.add((pointer, keyword))
        if not wanted <= errors:
            missed[file.stem] = wanted - errors
    assert missed == {}


def test_ajv_refuses_what_a_schema_can_tell(told: Any) -> None:
    accepted = {
        name
        for name, it in told.items()
        if name.startswith("invalid/")
        and it["valid"]
        and {
            fault["keyword"]
            for fault in json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))["expected"]
        }
        - OURS
    }
    assert accepted == set()


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Types by the generators' own commands."""
    folder = tmp_path_factory.mktemp("ts")
    command = packages() / "json-schema-to-typescript" / "dist" / "src" / "cli.js"
    for name in NAMES:
        source, target = SCHEMA / f"{name}.schema.json", folder / f"{name}.ts"
        node(command, "--additionalProperties=false", source, target)
    (folder / "example.ts").write_text((NPM / "example.ts").read_text("utf-8"), "utf-8")
    return folder


@pytest.mark.slow
def test_types_made_from_the_schemas_compile_and_tell_right_from_wrong(typed: Path) -> None:
    compiles(typed, "example.ts", *(f"{name}.ts" for name in NAMES))

    # And what the typed example makes is a request.
    out = node(
        "--input-type=module", "-e", "console.log((await import('./example.js')).body)", at=typed
    )
    document = {"example": {"schema": "request", "document": json.loads(out)}}
    [found] = json.loads(node("validate.mjs", SCHEMA, given=document)).values()
    assert found == {"valid": True, "errors": []}


@pytest.mark.slow
def test_types_made_from_the_description_compile(typed: Path) -> None:
    (typed / "openapi.json").write_text(json.dumps(description()), "utf-8")
    command = packages() / "openapi-typescript" / "bin" / "cli.js"
    node(command, typed / "openapi.json", "-o", typed / "openapi.ts")
    compiles(typed, "openapi.ts")
