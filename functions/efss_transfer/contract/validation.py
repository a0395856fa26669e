"""Validates documents against the JSON Schemas: requests, and the operator's site file.

No text made here contains a value from the document: a password in the wrong place must not
come back in an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Final, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource

from efss_transfer.contract.schemas import NAMES, schema
from efss_transfer.model.errors import InvalidJson, Violation
from efss_transfer.model.suggestions import did_you_mean

MAX_VIOLATIONS: Final = 1_000
"""How many violations are listed. The search ends there: a body of 1 MB can have 450,000."""

# Names of types that a person can read, and synonyms. The page imports the same file.
_WORDING: Final = json.loads((files("efss_transfer.contract") / "wording.json").read_text("utf-8"))
_MAX_NAME_LENGTH: Final = 100
_MAX_DEPTH: Final = 32


def violations(
    name: str, document: Any, *, part: str = "", at: str = ""
) -> tuple[list[Violation], bool]:
    """Find where a document does not fit a schema.

    `part` is a JSON Pointer to the part of the schema that applies, `at` the document's own
    pointer in a larger document. Returns at most `MAX_VIOLATIONS`, sorted, and whether there are
    more.
    """
    found: dict[tuple[str, str], Violation] = {}
    has_more = False
    errors = _validator(name, part).iter_errors(document)
    for violation in chain.from_iterable(_violations(error, at) for error in errors):
        if len(found) == MAX_VIOLATIONS and (violation.pointer, violation.keyword) not in found:
            has_more = True
            break
        found.setdefault((violation.pointer, violation.keyword), violation)
    return [found[key] for key in sorted(found)], has_more


@cache
def _validator(name: str, part: str) -> Draft202012Validator:
    whole = schema(name)
    return Draft202012Validator(
        {"$ref": f"{whole['$id']}#{part}"} if part else whole, registry=_registry()
    )


@cache
def _registry() -> Registry[Any]:
    """All schemas by their ids, because they refer to one another."""
    return Registry().with_resources(
        (schema(name)["$id"], Resource.from_contents(schema(name))) for name in NAMES
    )


def load(body: bytes, name: str = "The body") -> Any:
    """Parse JSON. Raises InvalidJson, whose text begins with `name` and says what is wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson(f"{name} is not UTF-8.") from None
    try:
        document = json.loads(
            text,
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
        _check_content(document)
    except RecursionError:
        raise InvalidJson(f"{name} is nested too deeply.") from None
    except json.JSONDecodeError as error:
        # The exception holds the entire body, so it is not chained.
        raise InvalidJson(
            f"{name} is not JSON: see line {error.lineno}, column {error.colno}."
        ) from None
    except _NotAccepted as error:
        raise InvalidJson(f"{name} {error}.") from None
    except ValueError:
        # Python refuses to read integers of more than 4300 digits.
        raise InvalidJson(f"{name} has a number with too many digits.") from None
    return document


class _NotAccepted(Exception):
    """JSON that Python can read and this service refuses; the text completes "The body"."""


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # JSON readers disagree on which of the two counts, so a gateway may have checked
        # another value than the one that would be used here.
        raise _NotAccepted("has an object with the same member twice")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise _NotAccepted("has NaN or Infinity, which are not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotAccepted("has a number that is too large")
    return number


def _check_content(document: Any) -> None:
    """Refuse text that cannot be encoded, and nesting deeper than any request needs."""
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
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
    raise _NotAccepted("is nested too deeply")


def _refuse_surrogates(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _NotAccepted("has a string with half of a surrogate pair")


def _violations(error: ValidationError, at: str) -> Iterator[Violation]:
    """Translate an error of jsonschema's, whose own text quotes the value."""
    keyword, pointer = str(error.validator), at + _pointer(error.absolute_path)
    described = error.schema if isinstance(error.schema, Mapping) else {}
    if keyword == "unevaluatedProperties":
        # In our schemas every known member of an object is listed in its `properties`.
        instance: Any = error.instance
        for name in instance:
            if name not in described["properties"]:
                meant = did_you_mean(name, described["properties"], _WORDING["synonyms"])
                text = f"Unknown member.{meant}"
                yield Violation(f"{pointer}/{_token(name)}", keyword, text)
        return
    yield Violation(pointer, keyword, _message(keyword, error, described))


def _message(keyword: str, error: ValidationError, described: Mapping[str, Any]) -> str:
    if own := own_message(described, keyword):
        return own
    expected: Any = error.validator_value
    instance: Any = error.instance
    match keyword:
        case "required":
            return _missing(name for name in expected if name not in instance)
        case "type":
            types = [expected] if isinstance(expected, str) else expected
            return f"Must be {' or '.join(_WORDING['types'][name] for name in types)}."
        case "enum":
            known = [str(value) for value in expected]
            meant = ""
            if isinstance(instance, str):
                meant = did_you_mean(instance, known, _WORDING["synonyms"])
            return f"Must be one of: {', '.join(known)}.{meant}"
        case "minLength" | "minItems" if expected == 1:
            return "Must not be empty."
        case "minLength" | "maxLength":
            return f"Must have {_bound(keyword)} {_count(expected, 'character', 'characters')}."
        case "minItems" | "maxItems":
            return f"Must have {_bound(keyword)} {_count(expected, 'entry', 'entries')}."
        case "minimum" | "maximum":
            return f"Must be {_bound(keyword)} {expected}."
        case _:
            return f"Must satisfy the schema's `{keyword}`."


def own_message(described: Mapping[str, Any], keyword: str) -> str | None:
    """The message that a schema itself has for one of its keywords, which Ajv's clients show."""
    own = (it["message"] for it in described.get("errorMessages", ()) if it["keyword"] == keyword)
    return next(own, None)


def message_at(pointer: str, keyword: str) -> str:
    """The message of a keyword of the request schema, for a check that stands outside it."""
    part: Any = schema("request")
    for token in pointer.split("/")[1:]:
        part = part[token]
    return own_message(part, keyword) or ""


def _missing(names: Iterable[str]) -> str:
    return f"Missing: {', '.join(dict.fromkeys(names))}."


def _bound(keyword: str) -> str:
    return "at least" if keyword.startswith("min") else "at most"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(f"/{_token(str(part))}" for part in path)


def _token(name: str) -> str:
    """A member's name in a JSON Pointer (RFC 6901), shortened if it is very long."""
    if len(name) > _MAX_NAME_LENGTH:
        name = name[:_MAX_NAME_LENGTH] + "…"
    return escape_token(name)


def escape_token(name: str) -> str:
    """Escape a member's name for use in a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")
