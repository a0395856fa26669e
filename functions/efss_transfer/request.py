"""From a body to a frozen TransferRequest: JSON, then the schema, all errors at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from efss_transfer import endpoints
from efss_transfer.engines.base import Endpoint, Options, TransferRequest
from efss_transfer.errors import Forbidden, InvalidRequest, Violation
from efss_transfer.validation import load, violations

Named = Callable[[str, Mapping[str, Any]], Endpoint]
"""Makes the endpoint of a storage that the site has configured, from the side's name and
what the request says of it. Raises Forbidden or InvalidRequest.
"""


def no_storages(side: str, _: Mapping[str, Any]) -> Endpoint:
    """The storages of a site that has none. Raises Forbidden."""
    raise Forbidden([Violation(f"/{side}/storage", "policy", "There is no such storage here.")])


def parse(body: bytes, named: Named = no_storages) -> TransferRequest:
    """The request that `body` holds.

    Raises InvalidJson or InvalidRequest, the latter with every violation of the schema;
    and what `named` raises for a storage of the site's.
    """
    document = load(body)
    found, omitted = violations("request", document)
    if found:
        raise InvalidRequest(found, omitted)
    refused: list[Violation] = []
    ends: dict[str, Endpoint] = {}
    for side in ("source", "destination"):
        try:
            ends[side] = _endpoint(side, document[side], named)
        except Forbidden as error:
            refused += error.violations
    if refused:
        raise Forbidden(refused)
    return TransferRequest(
        source=ends["source"],
        destination=ends["destination"],
        options=Options(**document.get("options", {})),
        engine=document.get("engine", "rclone"),
        id=document.get("id"),
        notify=document.get("notify", {}).get("url"),
    )


def _endpoint(side: str, document: Mapping[str, Any], named: Named) -> Endpoint:
    if "storage" in document:
        return named(side, document)
    return endpoints.endpoint(document["type"], document["parameters"], document.get("path", ""))
