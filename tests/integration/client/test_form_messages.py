"""A form that checks with Ajv, by the lines of our page, says what the service says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.contract import EXAMPLES, SCHEMA, schema
from support.doc_blocks import DOCS, written
from support.node import node, packages
from support.service_process import Function

FAULTS = sorted((EXAMPLES / "invalid").glob("*.json"))
PROGRAM = """
import { readFileSync } from "node:fs";
import { checker } from "./checker.mjs";
const check = checker(JSON.parse(readFileSync(process.argv[2], "utf8")));
const documents = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(documents.map((it) => Object.fromEntries(check(it)))));
"""


def faulty(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))["request"]


def sentences(name: str) -> set[str]:
    """Those that a schema has."""
    found: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, dict):
            found.update(it["message"] for it in part.get("errorMessages", ()))
            part = list(part.values())
        for below in part if isinstance(part, list) else ():
            look(below)

    look(schema(name))
    return found


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the page's lines say of documents, by a schema: the sentence at each pointer."""
    folder = tmp_path_factory.mktemp("form")
    (folder / "node_modules").symlink_to(packages())
    written(DOCS / "how-to" / "clients.md", folder, "checker.mjs")
    (folder / "program.mjs").write_text(PROGRAM, "utf-8")

    def said(name: str, documents: list[Any]) -> list[dict[str, str]]:
        file = SCHEMA / f"{name}.schema.json"
        found: list[dict[str, str]] = json.loads(
            node("program.mjs", file, given=documents, at=folder)
        )
        return found

    return said


def test_form_says_the_sentences_of_the_service(form: Any, function: Function) -> None:
    own = sentences("request")
    shown = set()
    for file, said in zip(FAULTS, form("request", [faulty(it) for it in FAULTS]), strict=True):
        answer = function.post(faulty(file))
        assert answer.status_code == 400, file.stem
        errors = answer.json()["errors"]
        for pointer, sentence in said.items():
            # A pointer of the service is escaped; the ten lines are for names as they are.
            meant = [
                it["message"]
                for it in errors
                if it["pointer"].replace("~1", "/").replace("~0", "~") == pointer
            ]
            assert meant, (file.stem, pointer)
            if sentence in own:
                assert sentence in meant, (file.stem, pointer)
                shown.add(sentence)
            elif sentence.startswith(("Must be one of", "Unknown member")):
                assert any(it.startswith(sentence) for it in meant), (file.stem, pointer)
        # And where the service says one of them, the form says something.
        assert {it["pointer"] for it in errors if it["message"] in own} <= said.keys(), file.stem
    assert own - shown == set()


@pytest.mark.parametrize("name", ["list-request", "check-request"])
def test_form_for_a_look_says_the_sentences_of_the_service(
    form: Any, function: Function, name: str
) -> None:
    endpoints = [
        {"type": "sftp", "parameters": {"host": "h", "user": "u"}, "path": ""},
        {"type": "s3", "parameters": {"access_key_id": "a"}, "path": "bucket"},
        {"type": "webdav", "parameters": {"url": "cloud.example.org"}, "path": "../a"},
        {"storage": "a b", "path": ""},
        {"storage": "a", "type": "s3", "path": ""},
    ]
    documents = [{"endpoint": it} for it in endpoints]
    for document, said in zip(documents, form(name, documents), strict=True):
        errors = function.post(document, f"/{name.removesuffix('-request')}").json()["errors"]
        by_pointer = {
            it["pointer"]: {e["message"] for e in errors if e["pointer"] == it["pointer"]}
            for it in errors
        }
        assert said.keys() == by_pointer.keys()
        for pointer, sentence in said.items():
            assert sentence in by_pointer[pointer]


def test_form_accepts_what_the_service_accepts(form: Any) -> None:
    valid = sorted((EXAMPLES / "valid").glob("*.json"))
    assert form("request", [json.loads(it.read_text("utf-8")) for it in valid]) == [{}] * len(valid)
