"""The description of the service that GET / returns to programs."""

from __future__ import annotations

from collections.abc import Iterable

from efss_transfer import __version__
from efss_transfer.contract import schemas
from efss_transfer.model.result import Json


def of_service(engines: Iterable[str]) -> dict[str, Json]:
    """The name, version and abilities of a service with these engines, and its links."""
    types = schemas.schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    return {
        "name": "efss-transfer",
        "version": __version__,
        "description": "Copies files between two storages. POST a transfer request to this path.",
        "engines": sorted(engines),
        "storage_types": types,
        "links": {
            "health": "/healthz",
            "metrics": "/metrics",
            "plan": "/plan",
            "list": "/list",
            "check": "/check",
            "openapi": "/openapi.json",
            "schemas": {name: f"/schema/{schemas.VERSION}/{name}" for name in schemas.NAMES},
        },
    }
