"""The route of rclone's connections: the SOCKS guard, or the site's proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from efss_transfer.egress.addresses import resolve
from efss_transfer.egress.proxy import Guard, guard
from efss_transfer.egress.rules import Egress
from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import TransferRequest

UNGUARDED: Final[Mapping[str, str | None]] = {"smb": "host", "hdfs": None}
"""Types for which rclone supports no proxy: see `Engine.unguarded`."""

# These backends ignore rclone's proxy flag, and have a proxy parameter of their own.
_TYPES_WITH_PROXY_PARAMETER: Final = frozenset({"sftp", "ftp"})
_SMB_PORT: Final = 445


@dataclass(frozen=True)
class Route:
    """How rclone is made to use the guard or the proxy.

    `proxy` is the value of rclone's flag. `parameter` is the parameter for remotes that ignore
    the flag. `ports` are the only TCP ports that rclone needs to connect to, None if unknown.
    `guard` is None where the site has a proxy of its own.
    """

    proxy: str
    parameter: tuple[str, str]
    ports: frozenset[int] | None
    guard: Guard | None = None

    def remote_parameters(self, storage_type: str) -> dict[str, str]:
        """The parameters that a remote of this type needs in addition to its own."""
        return dict([self.parameter]) if storage_type in _TYPES_WITH_PROXY_PARAMETER else {}


@contextmanager
def open_route(egress: Egress, request: TransferRequest | None) -> Iterator[Route]:
    """The route for the length of the block.

    Without a request, rclone may connect only to the guard or the proxy.
    """
    if egress.proxy is not None:
        yield _through_proxy(egress.proxy)
        return
    with guard(egress.permits) as running:
        yield Route(
            f"socks5://127.0.0.1:{running.port}",
            ("socks_proxy", f"127.0.0.1:{running.port}"),
            _ports(running.port, request),
            running,
        )


def _through_proxy(url: str) -> Route:
    """The route through the site's proxy, by its address: rclone resolves no names."""
    parts = urlsplit(url)
    addresses = resolve(parts.hostname or "")
    if not addresses or parts.port is None:
        raise EngineError(
            "The host of the site's egress proxy cannot be resolved. The operator must check "
            "`egress_proxy` in the site file, or the name server."
        )
    host = f"[{addresses[0]}]" if addresses[0].version == 6 else str(addresses[0])
    proxy = f"http://{host}:{parts.port}"
    return Route(proxy, ("http_proxy", proxy), frozenset({parts.port}))


def _ports(guard_port: int, request: TransferRequest | None) -> frozenset[int] | None:
    ports = {guard_port}
    for endpoint in (request.source, request.destination) if request else ():
        if endpoint.type == "smb":
            ports.add(int(endpoint.parameters.get("port", _SMB_PORT)))
        elif endpoint.type in UNGUARDED:
            return None
    return frozenset(ports)
