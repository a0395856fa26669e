"""The description of the service that GET / returns to programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from efss_transfer import __version__
from efss_transfer.auth.admission import Admission
from efss_transfer.contract import schemas
from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import EfssTransferError
from efss_transfer.model.result import Json
from efss_transfer.service.http_messages import Request
from efss_transfer.site.site_file import SiteStorage
from efss_transfer.site.storages import Storages

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Name, version and abilities of the service, and links to the rest.",
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "description": {"type": "string"},
        "engines": {
            "type": "array",
            "description": "The values of a request's `engine` that this site has switched on.",
            "items": {"type": "string"},
        },
        "detaching_engines": {
            "type": "array",
            "description": "Those that can honour `options.detach`.",
            "items": {"type": "string"},
        },
        "storage_types": {"type": "array", "items": {"type": "string"}},
        "storages": {
            "type": "array",
            "description": "The storages of the site that the caller may use. Omitted for a "
            "request that the service would not admit: send the token that transfers need.",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The endpoint's `storage`."},
                    "type": {"type": "string"},
                    "use": {
                        "type": "array",
                        "items": {"type": "string", "enum": ["source", "destination"]},
                    },
                    "caller_parameters": {
                        "type": "array",
                        "description": "The parameters that a request may set.",
                        "items": {"type": "string"},
                    },
                },
                "required": ["name", "type", "use", "caller_parameters"],
            },
        },
        "links": {"type": "object"},
    },
    "required": [
        *("name", "version", "description", "engines", "detaching_engines", "storage_types"),
        "links",
    ],
}


def of_service(
    engines: Mapping[str, Engine], storages: Iterable[SiteStorage] | None = None
) -> dict[str, Json]:
    """The name, version and abilities of a service with these engines, and its links.

    `storages` are those that the caller may use; None for somebody who may not call.
    """
    types = schemas.schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    offered: dict[str, Json] = {}
    if storages is not None:
        offered["storages"] = [_offered(storage) for storage in storages]
    return {
        "name": "efss-transfer",
        "version": __version__,
        "description": "Copies files between two storages. POST a transfer request to this path.",
        "engines": sorted(engines),
        "detaching_engines": sorted(name for name, it in engines.items() if it.can_detach),
        "storage_types": types,
        **offered,
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


def usable_storages(
    request: Request, admission: Admission, storages: Storages
) -> list[SiteStorage] | None:
    """The storages that whoever sent a GET may use; None for somebody who may not call.

    A browser sends no Origin with the GET of a page whose name resolves to this machine (see
    Admission), but the page's name in Host.
    """
    host = request.header("Host")
    origin = request.header("Origin") or (f"http://{host}" if host else None)
    try:
        _, permissions = admission.admit(
            request.header("Authorization"),
            request.remote,
            origin,
            platform_authenticated=request.vouched,
        )
    except EfssTransferError:
        return None  # the description is for everybody, the names of storages are not
    return storages.usable_by(permissions)


def _offered(storage: SiteStorage) -> Json:
    """What a caller needs to name a storage of the site; not where it is."""
    return {
        "name": storage.name,
        "type": storage.type,
        "use": sorted(storage.use, reverse=True),
        "caller_parameters": sorted(storage.caller_parameters),
    }
