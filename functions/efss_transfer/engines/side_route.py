"""How this process connects to the WebDAV server of one side: where the site's rules allow it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from efss_transfer.egress.dialer import DialRefused
from efss_transfer.egress.proxy import Guard
from efss_transfer.egress.rules import Egress
from efss_transfer.egress.socks5 import Rejected, Reply
from efss_transfer.webdav.http.connections import Cause, NoAnswer, Origin

_CAUSES: Final[dict[int, tuple[Cause, str]]] = {
    Reply.HOST_UNREACHABLE: ("unresolved", "no such host"),
    Reply.CONNECTION_REFUSED: ("refused", "connection refused"),
    Reply.TIMED_OUT: ("timeout", "i/o timeout"),
}


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
