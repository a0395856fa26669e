"""The OpenAPI description is valid, complete, and made of the schemas themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from efss_transfer.config.settings import Settings
from efss_transfer.contract import schemas
from efss_transfer.model.errors import CODES
from efss_transfer.service import application
from efss_transfer.service.http_messages import Request
from efss_transfer.service.openapi import description, examples
from efss_transfer.site.site_file import Site
from support.contract import EXAMPLES, complaints

VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))


@pytest.fixture(scope="module")
def described() -> Any:
    return json.loads(json.dumps(description.description()))


def test_it_is_openapi(described: Any) -> None:
    validate(described)
    assert described["openapi"].startswith("3.1")


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_every_reference_leads_to_a_component(described: Any) -> None:
    for reference in set(references(described)):
        part = described
        for token in reference.removeprefix("#/").split("/"):
            part = part[token.replace("~1", "/").replace("~0", "~")]


def test_every_status_and_code_stands_there(described: Any) -> None:
    for path, never in (("/", {"too_large"}), ("/plan", set[str]())):
        responses = described["paths"][path]["post"]["responses"]
        for name, code in CODES.items():
            # Nobody reads the one, and the other is for paths that are none.
            if name not in {"cancelled", "not_found"} | never:
                assert f"`{name}`" in responses[str(code.status)]["description"]


def test_every_schema_has_its_path(described: Any) -> None:
    assert {f"/schema/v1/{name}" for name in schemas.NAMES} < set(described["paths"])


def test_a_plans_request_is_a_transfers_and_what_to_reckon_with(described: Any) -> None:
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/plan-request", "components": described["components"]}
    )
    for file in VALID:
        request = json.loads(file.read_text("utf-8"))
        assert validator.is_valid(request)
        assert validator.is_valid({**request, "plan": {"rate": 1, "seconds": 1}})
        assert not validator.is_valid({**request, "plan": {"rate": 0}})
        assert not validator.is_valid({**request, "plans": {}})


@pytest.mark.parametrize("file", [*VALID, *INVALID], ids=lambda file: file.stem)
def test_its_request_takes_what_the_schema_takes(described: Any, file: Any) -> None:
    example = json.loads(file.read_text("utf-8"))
    document = example.get("request", example)
    # These keywords are our own: no schema can tell.
    told = {error["keyword"] for error in example.get("expected", [])}
    fits = file in VALID or told <= {"distinct", "format", "order"}
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/request", "components": described["components"]}
    )
    assert validator.is_valid(document) == fits


def answers(described: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every body that is described: where, its schema, and its examples."""
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for status, body in bodies.items():
                for kind, content in body.get("content", {}).items():
                    shown = [it["value"] for it in content.get("examples", {}).values()]
                    shown += [content["example"]] if "example" in content else []
                    yield f"{method} {path} {status} {kind}", content["schema"], shown


def test_every_example_fits_its_schema(described: Any) -> None:
    count = 0
    for where, part, shown in answers(described):
        validator = Draft202012Validator({**part, "components": described["components"]})
        for example in shown:
            assert list(validator.iter_errors(example)) == [], where
            count += 1
    assert count > len(CODES)


def test_every_code_has_an_example_under_its_status(described: Any) -> None:
    for name, code in CODES.items():
        if name in ("cancelled", "not_found"):
            continue
        path = "/plan" if name == "too_large" else "/"
        responses = described["paths"][path]["post"]["responses"]
        shown = responses[str(code.status)]["content"]["application/problem+json"]["examples"]
        told = shown[name]["value"]
        assert (told["code"], told["status"], told["title"]) == (name, code.status, code.title)
        assert told["detail"]


def test_a_stream_is_shown_from_its_first_event_to_its_last(described: Any) -> None:
    content = described["paths"]["/"]["post"]["responses"]["200"]["content"]
    lines = content["application/x-ndjson"]["example"].splitlines()
    messages = content["text/event-stream"]["example"].removesuffix("\n\n").split("\n\n")
    told = [json.loads(line) for line in lines]
    assert [it["event"] for it in told] == ["started", "progress", "file", "result"]
    for event in told:
        assert complaints("event", event) == []
    for number, (event, message) in enumerate(zip(told, messages, strict=True), 1):
        name, kind, data = message.split("\n")
        assert (name, kind) == (f"id: {number}", f"event: {event['event']}")
        assert json.loads(data.removeprefix("data: ")) == event


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """How each refusal is had of the service itself."""
    named = {"source": {"storage": "archive"}, "destination": {"storage": "archive"}}
    yield "invalid_json", {"content": b"{"}
    yield "invalid_request", {"content": b'{"source": {"storage": "archive"}, "priority": 1}'}
    yield "forbidden", {"content": json.dumps(named).encode()}
    yield "not_found", {"path": "/nothing"}
    yield "method_not_allowed", {"method": "PUT"}
    yield "unsupported_media_type", {"kind": "text/plain"}


@pytest.mark.parametrize(("code", "call"), list(calls()), ids=[code for code, _ in calls()])
def test_what_the_service_answers_is_as_shown(code: str, call: dict[str, Any]) -> None:
    shown = examples.problem(code)
    content = call.pop("content", b"")
    given = {"method": "POST", "path": "/", "kind": "application/json", "remote": "127.0.0.1"}
    serving = application.Service(Settings.read({}), Site(), {})

    answer = serving.answer(
        Request(
            **{**given, **call},
            header=lambda _: None,
            representation=lambda: "application/json",
            body=lambda _: content,
        )
    )

    assert isinstance(answer.body, bytes)
    told = json.loads(answer.body)
    assert answer.status == shown.status
    assert told.keys() == shown.document.keys()
    if code != "invalid_json":  # its place depends on the body
        assert {**told, "errors": None} == {**shown.document, "errors": None}
    if code == "invalid_request":
        assert told == shown.document
    for name, value in shown.headers.items():
        assert answer.headers[name] == value


def test_what_writes_clients_finds_a_name_of_its_own_for_every_type(described: Any) -> None:
    for name, component in described["components"]["schemas"].items():
        if component.get("type") == "object":
            assert "title" not in component, name
