"""What an answer must look like: the published schemas, put to the service's own output."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMA = Path(__file__).parents[2] / "schema"
EXAMPLES = SCHEMA / "examples"
NAMES = (
    *("request", "result", "event", "problem"),
    *("plan-request", "plan", "list-request", "listing", "check-request", "check", "site"),
)


@cache
def schema(name: str) -> Any:
    """A schema, read from its file and not from the service."""
    return json.loads((SCHEMA / f"{name}.schema.json").read_text("utf-8"))


@cache
def registry() -> Registry[Any]:
    """All schemas by their ids, because they refer to one another."""
    return Registry().with_resources(
        (schema(name)["$id"], Resource.from_contents(schema(name))) for name in NAMES
    )


def complaints(name: str, document: Any, pointer: str = "") -> list[str]:
    """Where a document does not fit a schema, or the part of it that `pointer` names."""
    validator = Draft202012Validator(
        {"$ref": f"{schema(name)['$id']}#{pointer}"},
        registry=registry(),
        format_checker=FormatChecker(),
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
