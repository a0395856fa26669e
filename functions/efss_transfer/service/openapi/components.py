"""The schemas as components of the OpenAPI description, in words that other tools understand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from efss_transfer.contract.schemas import schema
from efss_transfer.contract.storage_types import definition

_PARTS: Final = ("request", "result", "event", "problem", "plan-request", "plan")
_DOCUMENTS: Final = ("examples", "default", "const", "enum")
_OWNERS: Final = ("request", "result", "plan")


def reference(name: str) -> dict[str, str]:
    """Where a component stands."""
    return {"$ref": f"#/components/schemas/{name}"}


def components() -> Iterator[tuple[str, Any]]:
    """Every schema, and every definition of each, as a component of its own.

    Few tools resolve a `$id` within a description, so references become plain ones.
    """
    for name in _PARTS:
        whole = schema(name)
        plain = {key: part for key, part in whole.items() if not key.startswith("$")}
        if name in ("request", "plan-request"):
            ends = {side: _alternatives(side) for side in ("source", "destination")}
            plain["properties"] = {**plain["properties"], **ends}
        yield name, _rewritten(plain, name)
        for part, described in whole.get("$defs", {}).items():
            if part != "endpoint" and _owner(name, part) == name and not _is_whole(name, part):
                yield f"{name}.{part}", _rewritten(described, name)
    yield from _endpoints()


def _is_whole(name: str, part: str) -> bool:
    """Whether a definition is another schema, which stands there again."""
    return (name, part) in (("problem", "result"), ("problem", "plan"))


def _owner(name: str, part: str) -> str:
    """Which schema's component a definition is: each schema has all that it needs, and so
    some stand in several.
    """
    own = schema(name)["$defs"].get(part)
    owners = (other for other in _OWNERS if own and schema(other).get("$defs", {}).get(part) == own)
    return next(owners, name)


def _endpoints() -> Iterator[tuple[str, Any]]:
    """An end of a transfer, a component for each type of storage.

    The schema of requests chooses by `type` step by step, so that a validator names the
    member that is wrong. What makes clients from this description wants to see the choice
    as alternatives, and few tools understand it otherwise.
    """
    endpoint = schema("request")["$defs"]["endpoint"]
    known = endpoint["properties"]
    common = {"type": "object", "unevaluatedProperties": False}
    for storage in known["type"]["enum"]:
        name = definition(storage).removeprefix("/$defs/")
        described = schema("request")["$defs"][name]
        yield (
            _end_name(storage),
            {
                **common,
                "description": described["description"],
                "properties": {
                    "type": {"type": "string", "const": storage},
                    "parameters": reference(f"request.{name}"),
                    "path": known["path"],
                },
                "required": ["type", "parameters"],
            },
        )
    yield (
        _end_name("storage"),
        {
            **common,
            "description": known["storage"]["description"],
            "properties": {name: known[name] for name in ("storage", "parameters", "path")},
            "required": ["storage"],
        },
    )


def _alternatives(side: str) -> dict[str, Any]:
    whole = schema("request")
    end = whole["properties"][side]
    types = whole["$defs"]["endpoint"]["properties"]["type"]["enum"]
    if "then" in end:  # not every type can be written to
        types = end["then"]["properties"]["type"]["enum"]
    return {
        "description": end["description"],
        "oneOf": [reference(_end_name(name)) for name in [*types, "storage"]],
        "examples": end["examples"],
    }


def _end_name(storage: str) -> str:
    return f"request.endpoint.{storage.replace(' ', '_')}"


def _rewritten(part: Any, name: str) -> Any:
    """A part of a schema as a component has it.

    What writes clients names a type by its title, and then two may have one name; by the
    component's own name they are distinct. It also takes alternatives for different types; a
    choice of members that must be there is told as a condition, which means the same.
    """
    if isinstance(part, list):
        return [_rewritten(item, name) for item in part]
    if not isinstance(part, Mapping):
        return part
    if "properties" in part and "if" not in part and _only_requires(part.get("anyOf")):
        part = {key: it for key, it in part.items() if key != "anyOf"} | {
            "if": {"anyOf": part["anyOf"]},
            "else": False,
        }
    left_out = {"title"} if isinstance(part.get("title"), str) and _is_structured(part) else set()
    members = part.get("properties")
    if isinstance(members, Mapping) and members and all(it is True for it in members.values()):
        left_out.add("properties")
    return {
        key: _target(value, name)
        if key == "$ref"
        else value
        if key in _DOCUMENTS
        else _rewritten(value, name)
        for key, value in part.items()
        if key not in left_out
    }


def _only_requires(ways: Any) -> bool:
    return bool(ways) and all(way.keys() <= {"required", "properties"} for way in ways)


def _is_structured(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "object" or "properties" in part or "oneOf" in part


def _target(pointed: str, name: str) -> str:
    pointer = pointed.removeprefix("#")
    if pointer.startswith("/components/"):
        return pointed
    part, _, rest = pointer.removeprefix("/$defs/").partition("/")
    if _is_whole(name, part):
        return reference(part)["$ref"]
    owner = _owner(name, part)
    return f"#/components/schemas/{owner}.{part}" + (f"/{rest}" if rest else "")
