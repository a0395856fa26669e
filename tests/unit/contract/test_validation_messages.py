"""Every rule of the request schemas whose usual sentence nobody could read has one of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from efss_transfer.contract import request_parser
from efss_transfer.contract.validation import violations
from efss_transfer.model.errors import InvalidRequest
from support.contract import EXAMPLES, schema

CHECKED = ("request", "plan-request", "list-request", "check-request", "site")
UNREADABLE = {"pattern", "oneOf", "anyOf", "not", "const", "dependentRequired", "format"}


def rules(part: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every subschema that a value must fit by itself, and where it stands.

    A rule within `if`, `not` or a union is a part of another one, which has the sentence.
    """
    if isinstance(part, list):
        for index, below in enumerate(part):
            yield from rules(below, f"{pointer}/{index}")
    elif isinstance(part, dict):
        yield pointer, part
        for keyword, below in part.items():
            if keyword in ("properties", "$defs"):
                for name, member in below.items():
                    yield from rules(member, f"{pointer}/{keyword}/{name}")
            elif keyword in ("allOf", "then", "else", "items", "propertyNames"):
                yield from rules(below, f"{pointer}/{keyword}")


def own(part: dict[str, Any]) -> dict[str, str]:
    """The sentences of a subschema, by keyword."""
    return {it["keyword"]: it["message"] for it in part.get("errorMessages", ())}


def is_condition(pointer: str) -> bool:
    """Whether it restates a member, to say what follows from another."""
    return "/then/" in pointer or "/else/" in pointer


@pytest.mark.parametrize("name", CHECKED)
def test_every_unreadable_rule_has_a_sentence(name: str) -> None:
    found = list(rules(schema(name)))
    assert len(found) > 50
    wrong = {}
    for pointer, part in found:
        needed = UNREADABLE & part.keys()
        if is_condition(pointer):
            needed |= {"enum"} & part.keys()
        given = own(part)
        if needed != given.keys():
            wrong[pointer] = needed ^ given.keys()
        for sentence in given.values():
            assert sentence[0].isupper() or sentence[0] == "`", pointer
            assert sentence.endswith("."), pointer
    assert wrong == {}


def test_no_sentence_stands_where_nobody_looks_for_it() -> None:
    for name in CHECKED:
        whole = schema(name)
        seen = sum("errorMessages" in part for _, part in rules(whole))
        assert seen == json.dumps(whole).count('"errorMessages"')


@pytest.mark.parametrize("name", CHECKED[1:-1])
def test_same_rule_has_the_same_sentence_in_every_schema(name: str) -> None:
    first = dict(rules(schema("request")))
    for pointer, part in rules(schema(name)):
        if pointer.startswith("/$defs/") and pointer in first:
            assert own(part) == own(first[pointer]), pointer


def test_every_sentence_is_shown_by_an_example() -> None:
    """They are the table of faults, which each validator is held to."""
    shown = set()
    for file in (EXAMPLES / "invalid").glob("*.json"):
        document = json.loads(file.read_text("utf-8"))["request"]
        found, _ = violations("request", document)
        if not found:
            with pytest.raises(InvalidRequest) as refused:
                request_parser.parse(json.dumps(document).encode())
            found = refused.value.violations
        shown |= {it.message for it in found}
    sentences = {
        sentence for _, part in rules(schema("request")) for sentence in own(part).values()
    }
    assert len(sentences) > 40
    assert sentences - shown == set()
