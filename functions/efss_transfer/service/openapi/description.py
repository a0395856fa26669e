"""The service's OpenAPI description, made from the schemas: there is no second copy of them."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from efss_transfer import __version__
from efss_transfer.contract.problems import RETRY_AFTER
from efss_transfer.contract.schemas import NAMES, VERSION, schema
from efss_transfer.model.errors import CODES
from efss_transfer.service.openapi import examples
from efss_transfer.service.openapi.components import components, reference

_PROBLEM: Final = "application/problem+json"
_STREAMS: Final = ("application/x-ndjson", "text/event-stream")
_NOT_HERE: Final = {"cancelled", "not_found"}
"""Nobody reads the one, and the other is for paths that are none."""

_DESCRIBED: Final = {
    "type": "object",
    "description": "What the service is, and where the rest is.",
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "description": {"type": "string"},
        "engines": {"type": "array", "items": {"type": "string"}},
        "storage_types": {"type": "array", "items": {"type": "string"}},
        "links": {"type": "object"},
    },
    "required": ["name", "version", "description", "engines", "storage_types", "links"],
}
_HEALTH: Final = {
    "type": "object",
    "description": "Whether a request could be served now.",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "unusable"]},
        "version": {"type": "string"},
        "authentication": {"type": "string", "enum": ["none", "tokens", "oidc"]},
        "engines": {"type": "object"},
    },
    "required": ["status", "version", "authentication", "engines"],
}


@cache
def description() -> dict[str, Any]:
    """The whole, as OpenAPI 3.1. It is shared: treat it as read-only."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "efss-transfer",
            "version": __version__,
            "summary": "One request, one copy between two storages.",
            "description": "Copies a folder or a file from one storage to another, and answers "
            "when it is done. The same request again skips what is there.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {}],
        "paths": {
            "/": {"post": _transfer(), "get": _describe()},
            "/plan": {"post": _planned()},
            "/healthz": {"get": _health()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _reading("This description.", "openapi")},
            **{
                f"/schema/{VERSION}/{name}": {
                    "get": _reading(
                        f"The JSON Schema: {name}.",
                        f"schema_{name.replace('-', '_')}",
                        "application/schema+json",
                    )
                }
                for name in NAMES
            },
        },
        "components": {
            "schemas": dict(components()),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that the site has given, or an issuer's access "
                    "token, as the site has it; none where it asks nobody.",
                }
            },
        },
    }


def _transfer() -> dict[str, Any]:
    return {
        "operationId": "transfer",
        "summary": "Copy.",
        "description": "Returns when the copy is done. Whoever hangs up cancels it.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": reference("request"),
                    "examples": examples.requests(),
                }
            },
        },
        "responses": {
            "200": {
                "description": "All is copied. As a stream: the copy began, and the last event "
                "is its result, whatever that is. Each event is a `#/components/schemas/event`: "
                "a line of NDJSON, or the data of a server-sent event that has its name.",
                "content": {
                    "application/json": {
                        "schema": reference("result"),
                        "example": examples.result().to_json(),
                    },
                    # One event a line; a schema can say so of each, but not of all.
                    **{
                        kind: {"schema": {"type": "string"}, "example": examples.stream(kind)}
                        for kind in _STREAMS
                    },
                },
            },
            **_problems(set(CODES) - _NOT_HERE - {"too_large"}),
        },
    }


def _planned() -> dict[str, Any]:
    return {
        "operationId": "plan",
        "summary": "What a transfer would take.",
        "description": "Looks at both sides once, and writes nothing. What cannot work is a "
        "problem, with the `plan` that shows why, or with the `result` of the look that failed.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference("plan-request")}},
        },
        "responses": {
            "200": {
                "description": "It can work.",
                "content": {
                    "application/json": {
                        "schema": reference("plan"),
                        "example": schema("plan")["examples"][0],
                    }
                },
            },
            **_problems(set(CODES) - _NOT_HERE),
        },
    }


def _problems(codes: set[str]) -> dict[str, Any]:
    statuses: dict[str, list[str]] = {}
    for code in sorted(codes):
        statuses.setdefault(str(CODES[code].status), []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {CODES[code].title}" for code in named) + ".",
            "headers": _headers(named),
            "content": {
                _PROBLEM: {
                    "schema": reference("problem"),
                    "examples": {
                        code: {
                            "summary": CODES[code].title,
                            "value": examples.problem(code).document,
                        }
                        for code in named
                    },
                }
            },
        }
        for status, named in sorted(statuses.items())
    }


def _headers(codes: list[str]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if any(code in RETRY_AFTER for code in codes):
        headers["Retry-After"] = {
            "description": "Seconds after which the same request may be sent again.",
            "schema": {"type": "integer"},
        }
    if "unauthenticated" in codes:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if "method_not_allowed" in codes:
        headers["Allow"] = {"schema": {"type": "string"}}
    return headers


def _health() -> dict[str, Any]:
    answer = {"content": {"application/json": {"schema": _HEALTH}}}
    return {
        "operationId": "health",
        "summary": "Whether a request could be served now.",
        "security": [],
        "responses": {
            "200": {"description": "It could.", **answer},
            "503": {"description": "It could not; `detail` says why.", **answer},
            "default": _any_problem(),
        },
    }


def _metrics() -> dict[str, Any]:
    kinds = ("text/plain", "application/openmetrics-text")
    return {
        "operationId": "metrics",
        "summary": "How many transfers there were, and how they went, for Prometheus.",
        "security": [],
        "responses": {
            "200": {
                "description": "The numbers of this process since its start.",
                "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
            },
            "default": _any_problem(),
        },
    }


def _describe() -> dict[str, Any]:
    answer = _reading(
        "What the service is: for a browser, a page to send requests with.", "describe"
    )
    content = answer["responses"]["200"]["content"]
    content["application/json"]["schema"] = _DESCRIBED
    content["text/html"] = {"schema": {"type": "string"}}
    return answer


def _reading(summary: str, name: str, kind: str = "application/json") -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {
            "200": {"description": summary, "content": {kind: {"schema": {"type": "object"}}}},
            "default": _any_problem(),
        },
    }


def _any_problem() -> dict[str, Any]:
    return {
        "description": "A problem, such as `method_not_allowed`.",
        "content": {
            _PROBLEM: {
                "schema": reference("problem"),
                "example": examples.problem("method_not_allowed").document,
            }
        },
    }
