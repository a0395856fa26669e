"""JSON Schema, put to documents: a request, and the operator's site file.

No text made here holds a value of the document's: a password in the wrong place must not
come back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource

from efss_transfer.contract.schemas import NAMES, schema
from efss_transfer.model.errors import InvalidJson, Violation

MOST_VIOLATIONS: Final = 1_000
"""How many violations are listed; more are only counted."""

# What the schemas' own words do not tell a person; the page says the same by the same file.
_WORDING: Final = json.loads((files("efss_transfer.contract") / "wording.json").read_text("utf-8"))
_LONGEST_NAME: Final = 100
_DEEPEST: Final = 32


def violations(
    name: str, document: Any, *, part: str = "", at: str = ""
) -> tuple[list[Violation], int]:
    """Where a document does not fit a schema: in order, and how many more there are.

    `part` is a JSON Pointer to a part of the schema, if the document is only that; `at`
    is the document's own pointer in a larger one.
    """
    found: dict[tuple[str, str], Violation] = {}
    omitted = 0
    for error in _validator(name, part).iter_errors(document):
        for violation in _violations(error, at):
            key = (violation.pointer, violation.keyword)
            if key in found:
                continue
            if len(found) < MOST_VIOLATIONS:
                found[key] = violation
            else:
                omitted += 1
    return [found[key] for key in sorted(found)], omitted


@cache
def _validator(name: str, part: str) -> Draft202012Validator:
    whole = schema(name)
    return Draft202012Validator(
        {"$ref": f"{whole['$id']}#{part}"} if part else whole, registry=_registry()
    )


@cache
def _registry() -> Registry[Any]:
    """All schemas by their ids: they refer to one another."""
    return Registry().with_resources(
        (schema(name)["$id"], Resource.from_contents(schema(name))) for name in NAMES
    )


def load(body: bytes) -> Any:
    """The JSON that `body` holds. Raises InvalidJson, which says what is not accepted."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("The body is not UTF-8.") from None
    try:
        document = json.loads(
            text,
            object_pairs_hook=_members,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        # The exception holds the whole body, so it does not go on.
        raise InvalidJson(
            f"The body is not JSON: see line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError:
        # Python refuses to read integers of more than 4300 digits.
        raise InvalidJson("A number is too long.") from None
    _refuse_unusable(document)
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # Readers disagree on which of the two counts: what was checked by a gateway
        # may not be what is done here.
        raise InvalidJson("A member stands twice in the same object.")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidJson("NaN and Infinity are not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJson("A number is too large.")
    return number


def _refuse_unusable(document: Any) -> None:
    """Refuse what no message can carry, and a depth that no request has."""
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _refuse_surrogates(value)
            elif isinstance(value, dict):
                for name in value:
                    _refuse_surrogates(name)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if not below:
            return
        level = below
    raise InvalidJson("The body is nested too deeply.")


def _refuse_surrogates(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidJson("A text holds half of a surrogate pair.")


def _violations(error: ValidationError, at: str) -> Iterator[Violation]:
    """What one error of jsonschema's means, in our own words: its own quote the value."""
    keyword, pointer = str(error.validator), at + _pointer(error.absolute_path)
    wanted: Any = error.validator_value
    instance: Any = error.instance
    described = error.schema if isinstance(error.schema, Mapping) else {}
    match keyword:
        case "unevaluatedProperties":
            # In our schemas every known member of an object stands in its `properties`.
            for name in instance:
                if name not in described["properties"]:
                    yield Violation(
                        f"{pointer}/{_token(name)}", keyword, "There is no such member here."
                    )
            return
        case "required":
            missing = [name for name in wanted if name not in instance]
            text = f"Missing: {', '.join(missing)}."
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            text = f"Must be {' or '.join(_WORDING['types'][kind] for kind in kinds)}."
        case "enum":
            text = f"Must be one of: {', '.join(map(str, wanted))}."
        case "const":
            text = f"Must be {json.dumps(wanted)}."
        case "dependentRequired":
            missing = [
                needed
                for name, all_needed in wanted.items()
                for needed in all_needed
                if name in instance and needed not in instance
            ]
            text = f"Missing: {', '.join(dict.fromkeys(missing))}."
        case "anyOf":
            ways = [" and ".join(way["required"]) for way in wanted]
            text = f"Needs one of: {', '.join(ways)}."
        case "minLength" | "minItems" if wanted == 1:
            text = "Must not be empty."
        case "minLength" | "maxLength":
            text = f"Must have {_most(keyword, wanted, 'character')}."
        case "minItems" | "maxItems":
            text = f"Must have {_most(keyword, wanted, 'entry')}."
        case "minimum" | "maximum":
            text = f"Must be at {_bound(keyword)} {wanted}."
        case "not":
            text = described.get("description", "Not so.")
        case "pattern":
            text = _WORDING["patterns"].get(
                wanted, f"Expected here: {described.get('description', 'another form.')}"
            )
        case _:
            text = f"Must satisfy the schema's `{keyword}`."
    yield Violation(pointer, keyword, text)


def _bound(keyword: str) -> str:
    return "least" if keyword.startswith("min") else "most"


def _most(keyword: str, count: int, of: str) -> str:
    """How many there may or must be: `at most 64 characters`."""
    many = of if count == 1 else f"{of.removesuffix('y')}ies" if of.endswith("y") else f"{of}s"
    return f"at {_bound(keyword)} {count} {many}"


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(f"/{_token(str(part))}" for part in path)


def _token(name: str) -> str:
    """A member's name in a JSON Pointer (RFC 6901), cut where nobody would read on."""
    if len(name) > _LONGEST_NAME:
        name = name[:_LONGEST_NAME] + "…"
    return escaped(name)


def escaped(name: str) -> str:
    """A member's name as a part of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")
