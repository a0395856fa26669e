"""The examples of requests for a look, which are documentation as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.contract import look_parser
from efss_transfer.model.errors import InvalidRequest
from efss_transfer.model.request import Endpoint
from support.contract import EXAMPLES, complaints


def of_the_site(_: str, document: Any) -> Endpoint:
    """Takes the place of a site, which has every storage."""
    return Endpoint("s3", document.get("parameters", {}), document["path"], storage="x")


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "list-request": lambda body: look_parser.parse_list(body, of_the_site),
    "check-request": lambda body: look_parser.parse_check(body, lambda _write: of_the_site),
}
# Keywords that a schema cannot express are checked in code.
IN_CODE = {"address", "pattern"}


def files(kind: str) -> list[Path]:
    found = sorted(file for name in PARSERS for file in (EXAMPLES / name / kind).glob("*.json"))
    assert len(found) > len(PARSERS)
    return found


def name_of(file: Path) -> str:
    return f"{file.parent.parent.name}-{file.stem}"


@pytest.mark.parametrize("file", files("valid"), ids=name_of)
def test_valid_example_is_accepted(file: Path) -> None:
    name, document = file.parent.parent.name, json.loads(file.read_text("utf-8"))
    assert complaints(name, document) == []
    parsed = PARSERS[name](file.read_bytes())
    assert parsed.endpoint.path == document["endpoint"]["path"]
    assert parsed.engine == "rclone"
    for member in document.keys() - {"endpoint"}:
        assert getattr(parsed, member) == document[member]


@pytest.mark.parametrize("file", files("invalid"), ids=name_of)
def test_invalid_example_is_refused_for_its_reasons(file: Path) -> None:
    name, example = file.parent.parent.name, json.loads(file.read_text("utf-8"))
    expected = [(it["pointer"], it["keyword"]) for it in example["expected"]]
    with pytest.raises(InvalidRequest) as refused:
        PARSERS[name](json.dumps(example["request"]).encode())
    found = [(it.pointer, it.keyword) for it in refused.value.violations]
    assert sorted(found) == sorted(expected)
    if not {keyword for _, keyword in expected} & IN_CODE:
        assert complaints(name, example["request"])
