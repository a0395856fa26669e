"""Checks the schemas: valid JSON Schema 2020-12, documented, and strict about unknown members."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[1] / "schema"


def complaints(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """Every mistake in one schema."""
    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
        yield f"{name}: {error.json_path}: not JSON Schema 2020-12"
    for member in ("$id", "$schema", "title", "description", "examples"):
        if member not in schema:
            yield f"{name}: has no {member}"
    yield from _objects(name, schema)


def _objects(where: str, schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _objects(f"{where}/{index}", part)
        return
    if not isinstance(schema, dict):
        return
    strict = schema.get("unevaluatedProperties") is False
    members = schema.get("properties", {})
    # A condition may name members without describing them: Ajv requires them next to `required`.
    condition = where.rpartition("/")[2] in ("if", "then")
    described = not condition and not all(member is True for member in members.values())
    if described and not strict:
        yield f"{where}: allows unknown members"
    if described:
        for name, member in members.items():
            for needed in ("title", "description", "examples"):
                if needed not in member:
                    yield f"{where}/{name}: has no {needed}"
    for keyword, part in schema.items():
        if keyword not in ("examples", "default", "const", "enum"):
            yield from _objects(f"{where}/{keyword}", part)


def main() -> int:
    """Print every mistake; returns 1 if there is any."""
    found = [
        complaint
        for file in sorted(SCHEMAS.glob("*.schema.json"))
        for complaint in complaints(file.name, json.loads(file.read_text("utf-8")))
    ]
    print("\n".join(found) or "schemas: valid, documented, strict")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
