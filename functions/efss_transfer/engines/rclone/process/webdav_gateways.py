"""Put a WebDAV gateway, reached through the guard, in front of each WebDAV endpoint."""

from __future__ import annotations

import csv
import socket
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from efss_transfer.config.rclone import RcloneSettings
from efss_transfer.egress.dialer import DialRefused
from efss_transfer.egress.proxy import Guard
from efss_transfer.egress.socks5 import Rejected, Reply
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.webdav.dialects import OCIS, of_vendor
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Cause, Connections, NoAnswer, Origin
from efss_transfer.webdav.session import ServerSession, basic

# Names that never resolve in DNS (RFC 6761, section 6.4).
_HOSTS: Final = {"source": "source.efss-gateway.invalid", "destination": "to.efss-gateway.invalid"}
# rclone implements the sign-in of these vendors.
_NOT_OURS: Final = frozenset({"sharepoint", "sharepoint-ntlm"})
_KEPT: Final = frozenset({"encoding", "owncloud_exclude_shares", "owncloud_exclude_mounts"})
_MOST: Final = 64
# With Basic auth, oCIS hashes the password for each request: longer than the work itself takes.
_MOST_BY_PASSWORD: Final = 4
_LONGEST_PATIENCE: Final = 60.0
_CAUSES: Final[dict[int, tuple[Cause, str]]] = {
    Reply.HOST_UNREACHABLE: ("unresolved", "no such host"),
    Reply.CONNECTION_REFUSED: ("refused", "connection refused"),
    Reply.TIMED_OUT: ("timeout", "i/o timeout"),
}


class Gateways:
    """Gateways of one transfer; none if they are disabled or the site uses a proxy."""

    def __init__(self, guard: Guard | None, settings: RcloneSettings) -> None:
        self._guard = guard if settings.webdav_gateway else None
        self._stall_seconds = settings.stall_seconds
        self.made: dict[str, Gateway] = {}

    def route(self, request: TransferRequest) -> TransferRequest:
        """Replace each WebDAV endpoint with its gateway, which takes no credentials from rclone.

        Two endpoints with the same server and credential share a gateway, so that rclone can
        request a server-side copy.
        """
        ends = request.source, request.destination
        is_shared = len({(end.type, str(end.parameters)) for end in ends}) == 1
        source = self._behind("source", ends[0], is_destination=is_shared)
        if is_shared:
            destination = replace(ends[1], parameters=source.parameters)
        else:
            destination = self._behind("destination", ends[1], is_destination=True)
        return replace(request, source=source, destination=destination)

    def remote_parameters(self, storage_type: str) -> dict[str, str]:
        """Return more parameters for a remote of this type: the gateway gets files unchunked."""
        return {"nextcloud_chunk_size": "0"} if storage_type == "webdav" and self.made else {}

    def begin_attempt(self, number: int) -> None:
        """Clear the gateways' caches; the first attempt may use the listings of the probe."""
        for gateway in self.made.values():
            if self._guard is not None:
                self._guard.call_soon(gateway.begin_copy if number == 1 else gateway.forget)

    def forget(self) -> None:
        """Clear the gateways' caches before a verification."""
        for gateway in self.made.values():
            if self._guard is not None:
                self._guard.call_soon(gateway.forget)

    def _behind(self, side: str, end: Endpoint, *, is_destination: bool) -> Endpoint:
        vendor = str(end.parameters.get("vendor", "other"))
        if self._guard is None or end.type != "webdav" or vendor in _NOT_OURS:
            return end
        try:
            origin = Origin.of(str(end.parameters["url"]))
            headers = _headers(str(end.parameters.get("headers", "")))
        except (KeyError, ValueError):
            return end  # rclone reports the error
        authorization = _authorization(end)
        dialect = of_vendor(vendor)
        by_password = dialect is OCIS and (authorization or "").startswith("Basic")
        connections = Connections(self._dial, most=_MOST_BY_PASSWORD if by_password else _MOST)
        upstream = Upstream(
            origin,
            connections,
            own_headers=headers,
            # The guard dials each hop and applies the site's rules.
            may_redirect=lambda _: True,
            stall_seconds=self._stall_seconds,
        )
        session = ServerSession(
            upstream,
            urlsplit(str(end.parameters["url"])).path,
            authorization=authorization,
            patience=min(self._stall_seconds / 2, _LONGEST_PATIENCE),
        )
        gateway = Gateway(session, connections, dialect, is_destination=is_destination)
        self.made[side] = gateway
        self._guard.reserve(_HOSTS[side], gateway.attend, gateway.close)
        parameters = {name: value for name, value in end.parameters.items() if name in _KEPT}
        parameters |= {"url": f"http://{_HOSTS[side]}/", "vendor": dialect.vendor}
        return replace(end, parameters=parameters)

    async def _dial(self, host: str, port: int) -> socket.socket:
        if self._guard is None:
            raise NoAnswer("denied", "the gateway has no guard to connect through")
        try:
            return await self._guard.dial(host, port)
        except DialRefused as error:
            # The wording of RFC 1928, which the engine's table of failures matches.
            detail = f"{host}:{port}: connection not allowed by ruleset"
            raise NoAnswer("denied", detail) from error
        except Rejected as error:
            reply = error.response[1] if len(error.response) > 1 else Reply.FAILED
            cause, words = _CAUSES.get(reply, ("broken", "network is unreachable"))
            raise NoAnswer(cause, f"{host}:{port}: {words}") from error


def _authorization(end: Endpoint) -> str | None:
    user, password = end.parameters.get("user", ""), end.parameters.get("pass", "")
    if user or password:
        return basic(str(user), str(password))
    token = end.parameters.get("bearer_token")
    return f"Bearer {token}" if token else None


def _headers(text: str) -> dict[str, str]:
    """Parse headers in rclone's format: name,value,name,value. Raises ValueError."""
    if not text:
        return {}
    fields = next(csv.reader([text]))
    if len(fields) % 2:
        raise ValueError("a header has no value: give pairs of name,value")
    return dict(zip(fields[::2], fields[1::2], strict=True))
