"""Serve as the engine's HTTP proxy where the site has a proxy of its own.

The engine can be given only one proxy. Requests for a reserved name go to a gateway; all others
are passed on to the site's proxy. An engine uses one connection for several hosts if they are
plain HTTP, so each request is looked at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from efss_transfer.webdav.http import messages, server
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.server import EngineReply, EngineRequest, Handler
from efss_transfer.webdav.http.streams import ByteStream

_LONGEST: Final = 1 << 20
_UNREACHABLE: Final = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_NOT_ADMITTED: Final = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="guard"\r\n'
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_AUTHORIZATION: Final = b"proxy-authorization"


class Door:
    """HTTP proxy for one engine.

    `dial` connects to the site's proxy, or raises NoAnswer. `relay` passes bytes on between two
    connections until both have ended. `admits` decides by a connection and its Proxy-Authorization,
    None if it has none, whether the client is the engine.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[socket.socket]],
        relay: Callable[[socket.socket, socket.socket], Awaitable[None]],
        admits: Callable[[socket.socket, str | None], bool],
    ) -> None:
        self._dial = dial
        self._relay = relay
        self._admits = admits
        self._handlers: dict[str, Handler] = {}

    def reserve(self, host: str, handle: Handler) -> None:
        """Have requests for a name, which no DNS has, answered by a gateway."""
        self._handlers[host] = handle

    async def attend(self, connection: socket.socket) -> None:
        """Serve one connection of the engine until it ends."""
        await server.serve(connection, self._handle, self._elsewhere)

    async def _handle(self, request: EngineRequest, reply: EngineReply) -> None:
        await self._handlers[_host(request.head.target)](request, reply)

    async def _elsewhere(self, stream: ByteStream) -> bool:
        head, authorization = _without_authorization(await messages.read_head(stream))
        if head and not self._admits(stream.connection, authorization):
            await stream.write(_NOT_ADMITTED)
            return True
        method, _, rest = head.partition(b" ")
        if not head or _host(rest.partition(b" ")[0].decode("latin-1")) in self._handlers:
            stream.unread(head)
            return False
        if method != b"CONNECT":
            # RFC 9112, section 9.6: then the engine sends no request for a gateway after this one.
            head = head[:-2] + b"Connection: close\r\n\r\n"
        loop = asyncio.get_running_loop()
        try:
            proxy = await self._dial()
        except NoAnswer:
            await stream.write(_UNREACHABLE)
            return True
        with proxy:
            await loop.sock_sendall(proxy, head + stream.take_ahead(_LONGEST))
            stream.unwatch()
            await self._relay(stream.connection, proxy)
        return True


def _host(target: str) -> str:
    """Return the host of a target in absolute form; a CONNECT has none, but a port."""
    return target.partition("://")[2].partition("/")[0].partition(":")[0].lower()


def _without_authorization(head: bytes) -> tuple[bytes, str | None]:
    """Take the header for this proxy out of a head: the next hop must not see it."""
    value: str | None = None
    kept = []
    for line in head.split(b"\r\n"):
        name, _, given = line.partition(b":")
        if name.strip().lower() == _AUTHORIZATION:
            value = given.decode("latin-1")
        else:
            kept.append(line)
    return b"\r\n".join(kept), value
