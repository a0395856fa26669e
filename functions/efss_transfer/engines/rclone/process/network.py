"""The route of rclone's connections: the SOCKS guard, or the site's proxy.

rclone's command line and environment name the guard without its secret, so that whatever is not
told the secret is refused. It reaches rclone over the rc API, before the first remote is made:

* as a remote's own option `override.http_proxy`, from which most backends build an HTTP client of
  their own. It also says which side's connections these are;
* as `socks_proxy` or `http_proxy`, parameters of `sftp` and `ftp`, which dial by themselves;
* as rclone's global option, for the backends in `_TYPES_WITH_SHARED_TRANSPORT`.

The sign-in of the WebDAV vendor `sharepoint` uses Go's default HTTP client, which knows only the
environment. For such a request the guard also serves the process rclone without the secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from efss_transfer.egress.addresses import ConnectionCheck, resolve
from efss_transfer.egress.proxy import ANYBODY, Guard, guard
from efss_transfer.egress.rules import Egress
from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import Side
from efss_transfer.model.storage_traits import traits
from efss_transfer.model.targets import Address

UNGUARDED: Final[Mapping[str, str | None]] = {"smb": "host", "hdfs": None}
"""Types for which rclone supports no proxy: see `Engine.unguarded`."""

SIDES: Final = tuple(side.value for side in Side)

# These backends ignore rclone's proxy flag, and have a proxy parameter of their own.
_TYPES_WITH_PROXY_PARAMETER: Final = frozenset({"sftp", "ftp"})
# rclone builds their HTTP transport once for the process, by the options of the first of them.
_TYPES_WITH_SHARED_TRANSPORT: Final = frozenset({"swift", "azureblob", "azurefiles"})
# The user of connections whose side is unknown: they may go where both sides may.
_BOTH: Final = "both"
_SMB_PORT: Final = 445


@dataclass(frozen=True)
class Route:
    """How rclone is made to use the guard or the proxy.

    `proxy` is the value of rclone's flag, without a secret. `ports` are the only TCP ports that
    rclone needs to connect to, None if unknown. `guard` is None where rclone uses the site's
    proxy itself. With both a guard and a `site_proxy`, rclone takes the guard for its HTTP proxy.
    """

    proxy: str
    ports: frozenset[int] | None
    guard: Guard | None = field(default=None, repr=False)
    site_proxy: str | None = None

    @property
    def secrets(self) -> frozenset[str]:
        """What must never be shown."""
        return frozenset() if self.guard is None else frozenset({self.guard.access.secret})

    def global_proxy(self, request: TransferRequest) -> str | None:
        """The value of rclone's global option, with the secret; None if the flag's is right."""
        if self.guard is None:
            return None
        return self._proxy_of(
            _side_of(request, lambda end: end.type in _TYPES_WITH_SHARED_TRANSPORT)
        )

    def remote_parameters(self, side: str, storage_type: str) -> dict[str, str]:
        """The parameters that a remote of this type needs in addition to its own."""
        proxy = self._proxy_of(side)
        if storage_type in _TYPES_WITH_PROXY_PARAMETER:
            scheme, _, address = proxy.partition("://")
            return {"socks_proxy": address} if scheme == "socks5" else {"http_proxy": proxy}
        if self.guard is None or storage_type in (*_TYPES_WITH_SHARED_TRANSPORT, *UNGUARDED):
            return {}
        return {"override.http_proxy": proxy}

    def admit_process(self, pid: int, request: TransferRequest) -> None:
        """Have the guard serve rclone without the secret, if the request needs that."""

        def has_own_client(end: Endpoint) -> bool:
            return end.type == "webdav" and end.parameters.get("vendor") == "sharepoint"

        if self.guard is not None and (
            has_own_client(request.source) or has_own_client(request.destination)
        ):
            self.guard.access.admit_process(pid, _side_of(request, has_own_client))

    def _proxy_of(self, user: str) -> str:
        if self.guard is None:
            return self.proxy
        scheme, _, address = self.proxy.partition("://")
        return f"{scheme}://{self.guard.login(user)}@{address}"


def _side_of(request: TransferRequest, selects: Callable[[Endpoint], bool]) -> str:
    """The user of the connections of all selected ends."""
    ends = (request.source, request.destination)
    sides = [side for side, end in zip(SIDES, ends, strict=True) if selects(end)]
    return sides[0] if len(sides) == 1 else ANYBODY if sides else _BOTH


@contextmanager
def open_route(
    egress: Egress, request: TransferRequest | None, *, webdav_gateway: bool = False
) -> Iterator[Route]:
    """The route for the length of the block.

    Without a request, rclone may connect only to the guard or the proxy. `webdav_gateway` says
    that WebDAV storages are reached through a gateway, and so through a guard. A served tree is
    always reached through one.
    """
    if egress.proxy is not None:
        route = _through_proxy(egress.proxy)
        if (webdav_gateway and _has_webdav(request)) or _has_served_tree(request):
            with _guard_before(route) as guarded:
                yield guarded
        else:
            yield route
        return
    with guard(egress.permits, _checks(egress)) as running:
        address = f"socks5://127.0.0.1:{running.port}"
        yield Route(address, _ports(running.port, request), running)


def _checks(egress: Egress) -> dict[str, ConnectionCheck]:
    def both(host: str, port: int, address: Address) -> bool:
        return all(egress.of(side).permits(host, port, address) for side in SIDES)

    return {_BOTH: both, **{side: egress.of(side).permits for side in SIDES}}


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
    return Route(f"http://{host}:{parts.port}", frozenset({parts.port}))


@contextmanager
def _guard_before(route: Route) -> Iterator[Route]:
    """A route through a guard that connects only to the site's proxy."""
    proxy = urlsplit(route.proxy)

    def is_proxy(host: str, port: int, _: Address) -> bool:
        return (host, port) == (proxy.hostname, proxy.port)

    with guard(is_proxy, dict.fromkeys((*SIDES, _BOTH), is_proxy)) as running:
        url = f"http://127.0.0.1:{running.port}"
        yield Route(url, frozenset({running.port}), running, site_proxy=route.proxy)


def _has_webdav(request: TransferRequest | None) -> bool:
    return request is not None and "webdav" in (request.source.type, request.destination.type)


def _has_served_tree(request: TransferRequest | None) -> bool:
    return request is not None and traits(request.source.type).is_served


def _ports(guard_port: int, request: TransferRequest | None) -> frozenset[int] | None:
    ports = {guard_port}
    for endpoint in (request.source, request.destination) if request else ():
        if endpoint.type == "smb":
            ports.add(int(endpoint.parameters.get("port", _SMB_PORT)))
        elif endpoint.type in UNGUARDED:
            return None
    return frozenset(ports)
