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
    `guard` is None where rclone uses the site's proxy itself. With both a guard and a
    `site_proxy`, rclone takes the guard for its HTTP proxy.
    """

    proxy: str
    parameter: tuple[str, str]
    ports: frozenset[int] | None
    guard: Guard | None = None
    site_proxy: str | None = None

    def remote_parameters(self, storage_type: str) -> dict[str, str]:
        """The parameters that a remote of this type needs in addition to its own."""
        return dict([self.parameter]) if storage_type in _TYPES_WITH_PROXY_PARAMETER else {}


@contextmanager
def open_route(
    egress: Egress, request: TransferRequest | None, *, webdav_gateway: bool = False
) -> Iterator[Route]:
    """The route for the length of the block.

    Without a request, rclone may connect only to the guard or the proxy. `webdav_gateway` says
    that WebDAV storages are reached through a gateway, and so through a guard.
    """
    if egress.proxy is not None:
        route = _through_proxy(egress.proxy)
        if webdav_gateway and _has_webdav(request):
            with _guard_before(route) as guarded:
                yield guarded
        else:
            yield route
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


@contextmanager
def _guard_before(route: Route) -> Iterator[Route]:
    """A route through a guard that connects only to the site's proxy."""
    proxy = urlsplit(route.proxy)
    with guard(lambda host, port, _: (host, port) == (proxy.hostname, proxy.port)) as running:
        url = f"http://127.0.0.1:{running.port}"
        yield Route(
            url, ("http_proxy", url), frozenset({running.port}), running, site_proxy=route.proxy
        )


def _has_webdav(request: TransferRequest | None) -> bool:
    return request is not None and "webdav" in (request.source.type, request.destination.type)


def _ports(guard_port: int, request: TransferRequest | None) -> frozenset[int] | None:
    ports = {guard_port}
    for endpoint in (request.source, request.destination) if request else ():
        if endpoint.type == "smb":
            ports.add(int(endpoint.parameters.get("port", _SMB_PORT)))
        elif endpoint.type in UNGUARDED:
            return None
    return frozenset(ports)
