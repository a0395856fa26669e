"""Builds the OpenAPI description of the service from its JSON Schemas."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from efss_transfer import __version__
from efss_transfer.contract.schemas import NAMES, VERSION, schema
from efss_transfer.model.errors import CODES
from efss_transfer.service import self_description
from efss_transfer.service.openapi import examples
from efss_transfer.service.openapi.components import components, reference
from efss_transfer.service.openapi.problem_responses import PROBLEM, problem_responses

_STREAMS: Final = ("application/x-ndjson", "text/event-stream")
_NEVER_SENT: Final = {"cancelled", "not_found"}
"""Codes that no described operation returns: a cancelling client reads no response, and
`not_found` is for unknown paths.
"""

_OF_A_RUN: Final = {"still_running"}
"""Codes that only a transfer can have."""

_OF_A_COPY: Final = {
    *_OF_A_RUN,
    *("too_large", "partial", "checksum_mismatch", "destination_not_found"),
}
"""Codes that only a transfer or its plan can have."""

_OF_A_STEP: Final = {
    *("source_not_found", "not_a_directory", "authentication_failed", "permission_denied"),
    *("name_refused", "storage_error", "storage_busy", "quota_exceeded", "incomplete"),
}
"""Codes that a step of a check can have, and the check itself cannot."""

_HEALTH: Final = {
    "type": "object",
    "description": "Whether the service can run transfers now.",
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
    """The OpenAPI 3.1 document. It is cached: treat it as read-only."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "efss-transfer",
            "version": __version__,
            "summary": "Copy files between two storages with one request.",
            "description": "Copies a folder or a file from one storage to another and returns "
            "the result. Sending the same request again skips files that are already there.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {}],
        "paths": {
            "/": {"post": _transfer(), "get": _describe()},
            "/plan": {"post": _plan()},
            "/list": {"post": _list()},
            "/check": {"post": _check()},
            "/healthz": {"get": _health()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _document("This description.", "openapi")},
            **{
                f"/schema/{VERSION}/{name}": {
                    "get": _document(
                        f"The JSON Schema `{name}`.",
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
                    "description": "A token issued by the site, or an access token of its OpenID "
                    "Connect provider. Not needed on a site without authentication.",
                }
            },
        },
    }


def _transfer() -> dict[str, Any]:
    return {
        "operationId": "transfer",
        "summary": "Run a transfer.",
        "description": "Responds when the transfer has ended, or as soon as it runs with "
        "`options.detach`. With `Accept: application/x-ndjson` or `text/event-stream` it responds "
        "at once and streams events. Closing the connection cancels the transfer.",
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
                "description": "The transfer succeeded. As a stream: the transfer started, and the "
                "last event is its result, successful or not. Each event is a "
                "`#/components/schemas/event`: one line of NDJSON, or the `data` of one "
                "server-sent event of that name.",
                "content": {
                    "application/json": {
                        "schema": reference("result"),
                        "example": examples.result().to_json(),
                    },
                    # A schema can describe one event, but not a stream of them.
                    **{
                        kind: {"schema": {"type": "string"}, "example": examples.stream(kind)}
                        for kind in _STREAMS
                    },
                },
            },
            **problem_responses(set(CODES) - _NEVER_SENT - {"too_large"}),
        },
    }


def _plan() -> dict[str, Any]:
    return {
        "operationId": "plan",
        "summary": "Plan a transfer: files, bytes, time and number of shards.",
        "description": "Surveys both sides and writes nothing. A transfer that cannot work is a "
        "problem: with the `plan` that shows why, or with the `result` of a failed survey.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference("plan-request")}},
        },
        "responses": {
            "200": {
                "description": "The transfer can work.",
                "content": {
                    "application/json": {
                        "schema": reference("plan"),
                        "example": schema("plan")["examples"][0],
                    }
                },
            },
            **problem_responses(set(CODES) - _NEVER_SENT - _OF_A_RUN),
        },
    }


def _list() -> dict[str, Any]:
    return {
        "operationId": "list",
        "summary": "List a folder, without the folders below it.",
        "description": "Looks at one endpoint by the rules for a source, within a minute, and "
        "writes nothing. A folder that cannot be listed is a problem.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference("list-request")}},
        },
        "responses": {
            "200": {
                "description": "The folder is listed. `errors` has entries that cannot be read.",
                "content": {
                    "application/json": {
                        "schema": reference("listing"),
                        "example": schema("listing")["examples"][0],
                    }
                },
            },
            **problem_responses(set(CODES) - _NEVER_SENT - _OF_A_COPY, examples.failed_look),
        },
    }


def _check() -> dict[str, Any]:
    return {
        "operationId": "check",
        "summary": "Check what a caller may do with a storage, and what it can.",
        "description": "Reaches the storage, signs in, reads, and writes if that is asked for, "
        "within a minute. A step that failed is part of the answer, and no problem.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference("check-request")}},
        },
        "responses": {
            "200": {
                "description": "The check has run, whether it passed or not.",
                "content": {
                    "application/json": {
                        "schema": reference("check"),
                        "example": schema("check")["examples"][0],
                    }
                },
            },
            **problem_responses(
                set(CODES) - _NEVER_SENT - _OF_A_COPY - _OF_A_STEP, examples.failed_look
            ),
        },
    }


def _health() -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": _HEALTH}}}
    return {
        "operationId": "health",
        "summary": "Whether the service can run transfers now.",
        "security": [],
        "responses": {
            "200": {"description": "It can.", **content},
            "503": {
                "description": "It cannot; the `detail` of an engine gives the reason.",
                **content,
            },
            "default": _any_problem(),
        },
    }


def _metrics() -> dict[str, Any]:
    kinds = ("text/plain", "application/openmetrics-text")
    return {
        "operationId": "metrics",
        "summary": "Metrics of transfers and requests, for Prometheus.",
        "security": [],
        "responses": {
            "200": {
                "description": "Metrics of this process since its start.",
                "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
            },
            "default": _any_problem(),
        },
    }


def _describe() -> dict[str, Any]:
    operation = _document(
        "Describes the service; a browser gets a page with a form for requests.", "describe"
    )
    # Without a token it describes less.
    operation["security"] = [{"bearer": []}, {}]
    content = operation["responses"]["200"]["content"]
    content["application/json"]["schema"] = self_description.SCHEMA
    content["text/html"] = {"schema": {"type": "string"}}
    return operation


def _document(summary: str, name: str, kind: str = "application/json") -> dict[str, Any]:
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
        "description": "A problem document, such as `method_not_allowed`.",
        "content": {
            PROBLEM: {
                "schema": reference("problem"),
                "example": examples.problem("method_not_allowed").document,
            }
        },
    }
