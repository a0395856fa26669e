"""Converts the JSON Schemas to OpenAPI components that other tools understand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from efss_transfer.contract.schemas import schema
from efss_transfer.contract.storage_types import schema_pointer

_SCHEMAS: Final = (
    *("request", "result", "event", "problem"),
    *("plan-request", "plan", "list-request", "listing", "check-request", "check"),
)
_ENDPOINTS: Final = {
    "request": ("source", "destination"),
    "plan-request": ("source", "destination"),
    "list-request": ("endpoint",),
    "check-request": ("endpoint",),
}
"""The members of each request that are endpoints."""
_LITERAL_KEYWORDS: Final = ("examples", "default", "const", "enum")
_OWNERS: Final = ("request", "result", "plan")


def reference(name: str) -> dict[str, str]:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def components() -> Iterator[tuple[str, Any]]:
    """Every schema and each of its definitions as a component of its own, by name.

    References use component names, because few tools resolve a `$id` inside a description.
    """
    for name in _SCHEMAS:
        document = schema(name)
        plain = {key: part for key, part in document.items() if not key.startswith("$")}
        sides = {side: _alternatives(name, side) for side in _ENDPOINTS.get(name, ())}
        if sides:
            plain["properties"] = {**plain["properties"], **sides}
        yield name, _converted(plain, name)
        for part, definition_schema in document.get("$defs", {}).items():
            if (
                part != "endpoint"
                and _owner(name, part) == name
                and not _is_schema_copy(name, part)
            ):
                yield f"{name}.{part}", _converted(definition_schema, name)
    yield from _endpoints()


def _is_schema_copy(name: str, part: str) -> bool:
    """Whether a definition is a copy of another whole schema."""
    return (name, part) in (("problem", "result"), ("problem", "plan"))


def _owner(name: str, part: str) -> str:
    """The schema whose component represents a definition.

    Each schema is self-contained, so several of them repeat the same definition.
    """
    own = schema(name)["$defs"].get(part)
    owners = (other for other in _OWNERS if own and schema(other).get("$defs", {}).get(part) == own)
    return next(owners, name)


def _endpoints() -> Iterator[tuple[str, Any]]:
    """An endpoint component for each storage type.

    The request schema selects the parameters by `type` with conditions, so that a validator
    reports the member that is wrong. Client generators need alternatives (`oneOf`) instead.
    """
    endpoint = schema("request")["$defs"]["endpoint"]
    members = endpoint["properties"]
    common = {"type": "object", "unevaluatedProperties": False}
    for storage in members["type"]["enum"]:
        name = schema_pointer(storage).removeprefix("/$defs/")
        parameters = schema("request")["$defs"][name]
        yield (
            _endpoint_name(storage),
            {
                **common,
                "description": parameters["description"],
                "properties": {
                    "type": {"type": "string", "const": storage},
                    "parameters": reference(f"request.{name}"),
                    "path": members["path"],
                },
                "required": ["type", "parameters", "path"],
            },
        )
    yield (
        _endpoint_name("storage"),
        {
            **common,
            "description": members["storage"]["description"],
            "properties": {name: members[name] for name in ("storage", "parameters", "path")},
            "required": ["storage", "path"],
        },
    )


def _alternatives(name: str, side: str) -> dict[str, Any]:
    document = schema(name)
    member = document["properties"][side]
    types = document["$defs"]["endpoint"]["properties"]["type"]["enum"]
    if "then" in member:  # some types are read-only
        types = member["then"]["properties"]["type"]["enum"]
    # In an object store the destination has a bucket: a condition, which generators pass over.
    condition = {key: member["else"][key] for key in ("if", "then") if "else" in member}
    return {
        **condition,
        "description": member["description"],
        "oneOf": [reference(_endpoint_name(name)) for name in [*types, "storage"]],
        "examples": member["examples"],
    }


def _endpoint_name(storage: str) -> str:
    return f"request.endpoint.{storage.replace(' ', '_')}"


def _converted(part: Any, name: str) -> Any:
    """A part of a schema, converted for client generators.

    Titles are dropped: generators name types by title, and two types may share one; component
    names are distinct. An `anyOf` that only requires one of several members becomes an equivalent
    `if`: generators would make a type of each alternative.
    """
    if isinstance(part, list):
        return [_converted(item, name) for item in part]
    if not isinstance(part, Mapping):
        return part
    if "properties" in part and "if" not in part and _only_requires(part.get("anyOf")):
        part = {key: it for key, it in part.items() if key != "anyOf"} | {
            "if": {"anyOf": part["anyOf"]},
            "else": False,
        }
    dropped = {"title"} if isinstance(part.get("title"), str) and _is_structured(part) else set()
    members = part.get("properties")
    if isinstance(members, Mapping) and members and all(it is True for it in members.values()):
        dropped.add("properties")
    return {
        key: _target(value, name)
        if key == "$ref"
        else value
        if key in _LITERAL_KEYWORDS
        else _converted(value, name)
        for key, value in part.items()
        if key not in dropped
    }


def _only_requires(alternatives: Any) -> bool:
    return bool(alternatives) and all(
        one.keys() <= {"required", "properties"} for one in alternatives
    )


def _is_structured(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "object" or "properties" in part or "oneOf" in part


def _target(ref: str, name: str) -> str:
    pointer = ref.removeprefix("#")
    if pointer.startswith("/components/"):
        return ref
    part, _, rest = pointer.removeprefix("/$defs/").partition("/")
    if _is_schema_copy(name, part):
        return reference(part)["$ref"]
    owner = _owner(name, part)
    return f"#/components/schemas/{owner}.{part}" + (f"/{rest}" if rest else "")
