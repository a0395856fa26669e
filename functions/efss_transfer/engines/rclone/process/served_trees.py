"""Make the tree of a source that is a list of files, which rclone reads as a WebDAV storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from efss_transfer.engines.side_route import SideRoute
from efss_transfer.model.request import Endpoint
from efss_transfer.served.documents import Documents
from efss_transfer.served.lists import ListSource, load
from efss_transfer.served.manifest import Manifest
from efss_transfer.served.servers import Servers
from efss_transfer.served.tree import ServedTree
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.credentials.credential import basic
from efss_transfer.webdav.http.connections import Connections

_MOST_CONNECTIONS: Final = 64
_LONGEST_PATIENCE: Final = 60.0
_SHARE: Final = 3
"""A list may take at most this part of a transfer's memory."""


def tree_of(
    end: Endpoint, route: SideRoute, budget: Budget, stall_seconds: float, memory: int
) -> ServedTree:
    """Return the tree of an endpoint, of which nothing is read yet."""
    servers = Servers(
        lambda: Connections(route.dial, proxy=route.proxy, most=_MOST_CONNECTIONS),
        may_redirect=route.may_redirect,
        credentials={one["host"].lower(): _value(one) for one in end.lists.get("credentials", ())},
        stall_seconds=stall_seconds,
        patience=min(stall_seconds / 2, _LONGEST_PATIENCE),
    )
    parameters, most_bytes = end.parameters, memory // _SHARE
    source = ListSource(
        end.lists.get("files", ()),
        str(parameters["manifest"]) if "manifest" in parameters else None,
        str(parameters["format"]) if "format" in parameters else None,
    )
    documents = Documents(servers, most_bytes)

    async def read() -> Manifest:
        return await load(source, documents, servers.record, most_bytes)

    return ServedTree(read, servers, budget)


def _value(credential: Mapping[str, Any]) -> str:
    """The value of Authorization that a credential means."""
    if "authorization" in credential:
        return str(credential["authorization"])
    if "bearer_token" in credential:
        return f"Bearer {credential['bearer_token']}"
    return basic(credential["user"], credential["pass"])
