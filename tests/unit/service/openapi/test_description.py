"""The OpenAPI description is valid, complete, and built from the schemas."""

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
def document() -> Any:
    return json.loads(json.dumps(description.description()))


def test_description_is_valid_openapi(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_every_reference_resolves_to_a_component(document: Any) -> None:
    for reference in set(references(document)):
        part = document
        for token in reference.removeprefix("#/").split("/"):
            part = part[token.replace("~1", "/").replace("~0", "~")]


def test_every_error_code_is_listed_under_its_status(document: Any) -> None:
    for path, never in (("/", {"too_large"}), ("/plan", {"still_running"})):
        responses = document["paths"][path]["post"]["responses"]
        for name, code in CODES.items():
            # A client that cancels reads no response; `not_found` is for unknown paths.
            if name not in {"cancelled", "not_found"} | never:
                assert f"`{name}`" in responses[str(code.status)]["description"]


def test_every_schema_has_a_path(document: Any) -> None:
    assert {f"/schema/v1/{name}" for name in schemas.NAMES} < set(document["paths"])


def test_plan_request_is_a_transfer_request_with_plan_options(document: Any) -> None:
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/plan-request", "components": document["components"]}
    )
    for file in VALID:
        request = json.loads(file.read_text("utf-8"))
        assert validator.is_valid(request)
        assert validator.is_valid({**request, "plan": {"rate": 1, "seconds": 1}})
        assert not validator.is_valid({**request, "plan": {"rate": 0}})
        assert not validator.is_valid({**request, "plans": {}})


@pytest.mark.parametrize("file", [*VALID, *INVALID], ids=lambda file: file.stem)
def test_request_component_accepts_what_the_schema_accepts(document: Any, file: Any) -> None:
    example = json.loads(file.read_text("utf-8"))
    request = example.get("request", example)
    # A schema cannot express these keywords; they are checked in code.
    keywords = {error["keyword"] for error in example.get("expected", [])}
    fits = file in VALID or keywords <= {"distinct", "format", "order"}
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/request", "components": document["components"]}
    )
    assert validator.is_valid(request) == fits


def bodies(document: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every body in the description: its place, schema and examples."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            described = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for status, body in described.items():
                for kind, content in body.get("content", {}).items():
                    shown = [it["value"] for it in content.get("examples", {}).values()]
                    shown += [content["example"]] if "example" in content else []
                    yield f"{method} {path} {status} {kind}", content["schema"], shown


def test_every_example_fits_its_schema(document: Any) -> None:
    count = 0
    for where, part, shown in bodies(document):
        validator = Draft202012Validator({**part, "components": document["components"]})
        for example in shown:
            assert list(validator.iter_errors(example)) == [], where
            count += 1
    assert count > len(CODES)


def test_every_error_code_has_an_example(document: Any) -> None:
    for name, code in CODES.items():
        if name in ("cancelled", "not_found"):
            continue
        path = "/plan" if name == "too_large" else "/"
        responses = document["paths"][path]["post"]["responses"]
        shown = responses[str(code.status)]["content"]["application/problem+json"]["examples"]
        told = shown[name]["value"]
        assert (told["code"], told["status"], told["title"]) == (name, code.status, code.title)
        assert told["detail"]


def test_stream_examples_show_all_kinds_of_events(document: Any) -> None:
    content = document["paths"]["/"]["post"]["responses"]["200"]["content"]
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


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """A request for each refusal that the service itself can produce."""
    end = {"storage": "archive", "path": ""}
    named = {"source": end, "destination": end}
    yield "invalid_json", {"content": b"{"}
    yield "invalid_request", {"content": json.dumps({"source": end, "priority": 1}).encode()}
    yield "forbidden", {"content": json.dumps(named).encode()}
    yield "not_found", {"path": "/nothing"}
    yield "method_not_allowed", {"method": "PUT"}
    yield "unsupported_media_type", {"content_type": "text/plain"}


@pytest.mark.parametrize(("code", "call"), list(requests()), ids=[code for code, _ in requests()])
def test_service_responds_as_the_example_shows(code: str, call: dict[str, Any]) -> None:
    shown = examples.problem(code)
    content = call.pop("content", b"")
    given = {
        "method": "POST",
        "path": "/",
        "content_type": "application/json",
        "remote": "127.0.0.1",
    }
    service = application.Service(Settings.read({}), Site(), {})

    answer = service.answer(
        Request(
            **{**given, **call},
            header=lambda _: None,
            negotiate=lambda: "application/json",
            read_body=lambda _: content,
        )
    )

    assert isinstance(answer.body, bytes)
    told = json.loads(answer.body)
    assert answer.status == shown.status
    assert told.keys() == shown.document.keys()
    if code != "invalid_json":  # its position depends on the body
        assert {**told, "errors": None} == {**shown.document, "errors": None}
    if code == "invalid_request":
        assert told == shown.document
    for name, value in shown.headers.items():
        assert answer.headers[name] == value


def test_no_component_has_a_title_that_generators_would_use_as_its_name(document: Any) -> None:
    for name, component in document["components"]["schemas"].items():
        if component.get("type") == "object":
            assert "title" not in component, name
