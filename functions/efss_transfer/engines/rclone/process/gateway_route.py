"""How WebDAV gateways connect to servers, and how rclone reaches the gateways."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from efss_transfer.egress.dialer import DialRefused
from efss_transfer.egress.proxy import ANYBODY, Guard
from efss_transfer.egress.rules import Egress
from efss_transfer.egress.socks5 import Rejected, Reply
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http.connections import Cause, NoAnswer, Origin
from efss_transfer.webdav.http.door import Door

_CAUSES: Final[dict[int, tuple[Cause, str]]] = {
    Reply.HOST_UNREACHABLE: ("unresolved", "no such host"),
    Reply.CONNECTION_REFUSED: ("refused", "connection refused"),
    Reply.TIMED_OUT: ("timeout", "i/o timeout"),
}


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

    def offer(self, host: str, gateway: Gateway) -> None:
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


@dataclass(frozen=True)
class SideRoute:
    """Route to the server of one side, which may go only where this side may."""

    guard: Guard
    side: str
    egress: Egress
    proxy: Origin | None

    def may_redirect(self, origin: Origin) -> bool:
        """Judge the target of a redirect. Raises NoAnswer, as `dial` does."""
        if self.proxy is not None and not self.egress.permits_unresolved(origin.host, origin.port):
            raise _denied(origin.host, origin.port)
        return True

    async def dial(self, host: str, port: int) -> socket.socket:
        """Connect to a server, or to the proxy. Raises NoAnswer."""
        try:
            return await self.guard.dial(host, port, self.side)
        except DialRefused as error:
            raise _denied(host, port) from error
        except Rejected as error:
            reply = error.response[1] if len(error.response) > 1 else Reply.FAILED
            cause, words = _CAUSES.get(reply, ("broken", "network is unreachable"))
            where = f"{host}:{port}" if self.proxy is None else "the site's proxy"
            raise NoAnswer(cause, f"{where}: {words}") from error


def _denied(host: str, port: int) -> NoAnswer:
    # The wording of RFC 1928, which the engine's table of failures matches.
    return NoAnswer("denied", f"{host}:{port}: connection not allowed by ruleset")
