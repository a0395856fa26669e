"""How WebDAV gateways connect to servers, and how rclone reaches the gateways."""

from __future__ import annotations

import socket

from efss_transfer.egress.proxy import ANYBODY, Guard
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.served.tree import ServedTree
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http.connections import NoAnswer, Origin
from efss_transfer.webdav.http.door import Door


class GatewayRoute:
    """Route of one transfer's gateways: through the guard, and by the site's proxy if it has one.

    The guard checks each address that it dials. A proxy resolves the names itself, so before it
    a host is judged by what is known without its addresses.
    """

    def __init__(self, guard: Guard, site_proxy: str | None, egress: Egress) -> None:
        self.proxy = Origin.of(site_proxy) if site_proxy is not None else None
        self._guard = guard
        self._egress = egress
        self._door: Door | None = None
        if self.proxy is not None:
            self._door = Door(self._dial_proxy, guard.relay, self._is_admitted)
            guard.hand_over(self._door.attend)

    def offer(self, host: str, gateway: Gateway | ServedTree) -> None:
        """Let rclone reach a gateway by a reserved name."""
        self._guard.reserve(host, gateway)
        if self._door is not None:
            self._door.reserve(host, gateway.handle)

    def of(self, side: str) -> SideRoute:
        """Return the route to the server of one side."""
        return SideRoute(self._guard, side, self._egress.of(side), self.proxy)

    async def _dial_proxy(self) -> socket.socket:
        if self.proxy is None:
            raise NoAnswer("proxy", "the site has no proxy")
        return await self.of(ANYBODY).dial(self.proxy.host, self.proxy.port)

    def _is_admitted(self, connection: socket.socket, authorization: str | None) -> bool:
        access = self._guard.access
        if authorization is None:
            user = access.stranger(connection)
        else:
            user = access.basic_user(authorization)
        if user is None:
            self._guard.log_refused_client()
        return user is not None
