"""From a body to a frozen TransferRequest: JSON, then the schema, all errors at once.

No error holds a value of the caller's: a password in the wrong place must not come back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from efss_transfer.engines.base import Endpoint, Options, TransferRequest
from efss_transfer.errors import InvalidJson, InvalidRequest, Violation
from efss_transfer.schemas import schema

MOST_VIOLATIONS: Final = 1_000
"""How many violations a problem lists; more are only counted."""

_LONGEST_NAME: Final = 100
_DEEPEST: Final = 32


def parse(body: bytes) -> TransferRequest:
    """The request that `body` holds.

    Raises InvalidJson or InvalidRequest; the latter has every violation of the schema.
    """
    document = _load(body)
    violations: dict[tuple[str, str], Violation] = {}
    omitted = 0
    for error in _validator().iter_errors(document):
        for violation in _violations(error):
            key = (violation.pointer, violation.keyword)
            if key in violations:
                continue
            if len(violations) < MOST_VIOLATIONS:
                violations[key] = violation
            else:
                omitted += 1
    if violations:
        raise InvalidRequest([violations[key] for key in sorted(violations)], omitted)
    return TransferRequest(
        source=_endpoint(document["source"]),
        destination=_endpoint(document["destination"]),
        options=Options(**document.get("options", {})),
        engine=document.get("engine", "rclone"),
        id=document.get("id"),
    )


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema("request"))


def _load(body: bytes) -> Any:
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


def _endpoint(document: Mapping[str, Any]) -> Endpoint:
    described = schema("request")["$defs"][_parameters_of(document["type"])]["properties"]
    parameters = document["parameters"]
    return Endpoint(
        type=document["type"],
        parameters=parameters,
        path=document.get("path", ""),
        secrets=frozenset(
            str(value) for name, value in parameters.items() if described[name].get("writeOnly")
        ),
    )


def _parameters_of(storage: str) -> str:
    """The name under `$defs` of what a type of storage takes."""
    return storage.replace(" ", "_") + "_parameters"


def _violations(error: ValidationError) -> Iterator[Violation]:
    """What one error of jsonschema's means, in our own words: its own quote the value."""
    keyword, pointer = str(error.validator), _pointer(error.absolute_path)
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
            text = (
                f"Must be of type {' or '.join([wanted] if isinstance(wanted, str) else wanted)}."
            )
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
        case "minLength" | "maxLength":
            text = f"Must have at {_bound(keyword)} {wanted} characters."
        case "minimum" | "maximum":
            text = f"Must be at {_bound(keyword)} {wanted}."
        case "pattern":
            text = f"Must have the form that is described: {described.get('description', '')}"
        case _:
            text = f"Must satisfy the schema's `{keyword}`."
    yield Violation(pointer, keyword, text)


def _bound(keyword: str) -> str:
    return "least" if keyword.startswith("min") else "most"


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(f"/{_token(str(part))}" for part in path)


def _token(name: str) -> str:
    """A member's name in a JSON Pointer (RFC 6901), cut where nobody would read on."""
    if len(name) > _LONGEST_NAME:
        name = name[:_LONGEST_NAME] + "…"
    return name.replace("~", "~0").replace("/", "~1")
