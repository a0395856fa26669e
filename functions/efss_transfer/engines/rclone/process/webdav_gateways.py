"""Put a WebDAV gateway, reached through the guard, in front of each WebDAV endpoint."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from efss_transfer.config.rclone import RcloneSettings
from efss_transfer.egress.proxy import Guard
from efss_transfer.engines.rclone.process.batching import Batching
from efss_transfer.engines.rclone.process.gateway_route import GatewayRoute
from efss_transfer.engines.rclone.process.served_trees import tree_of
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import Side
from efss_transfer.model.storage_traits import traits
from efss_transfer.model.verification import VerifyMode
from efss_transfer.webdav import recognition
from efss_transfer.webdav.budget import Budget, size_for
from efss_transfer.webdav.credentials.endpoint_credential import credential_of
from efss_transfer.webdav.credentials.passwords import is_hashed
from efss_transfer.webdav.dialects import Dialect, of_vendor
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, Origin
from efss_transfer.webdav.session import ServerSession
from efss_transfer.webdav.words import Record

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.process.ocm_shares import SharedSource
    from efss_transfer.model.storage_check import ServerProduct
    from efss_transfer.served.tree import ServedTree

# A domain that never resolves in DNS (RFC 6761, section 6.4).
_DOMAIN: Final = "efss-gateway.invalid"
# rclone implements the sign-in of these vendors.
_NOT_OURS: Final = frozenset({"sharepoint", "sharepoint-ntlm"})
_KEEPING: Final = frozenset({"never", "newer"})
_KEPT: Final = frozenset({"encoding", "owncloud_exclude_shares", "owncloud_exclude_mounts"})
# Sources that may give files no size, and no file a hash. With the vendor `nextcloud` rclone writes
# such a file to disk first, which its sandbox forbids. With `owncloud` it streams it.
_NO_LENGTHS: Final = frozenset({"http", "urls"})
_STREAMING: Final = "owncloud"
_MOST: Final = 64
_MOST_BY_PASSWORD: Final = 4
_LONGEST_PATIENCE: Final = 60.0
# Seconds before the deadline in which rclone tries again for what was waited for in vain.
_MOST_RESERVED: Final = 5.0


@dataclass(frozen=True)
class _Server:
    """A WebDAV server of the transfer, and the dialect that it is being asked for."""

    upstream: Upstream
    connections: Connections
    named: Dialect
    asked: Future[Dialect]

    def dialect(self) -> Dialect:
        """Return what the server says that it is, or what the request says."""
        with suppress(TimeoutError, CancelledError):
            return self.asked.result(recognition.SECONDS + 1)
        return self.named


class Gateways:
    """Gateways of one transfer.

    Creating it begins to ask the servers what they are. `deadline` is a time of
    `time.monotonic()`, and `memory` the number of bytes that the transfer may use. Each token that
    a gateway fetches is passed to `keep_secret`, which keeps it out of logs and answers. `shared`
    is the request's source, if that is a share of Open Cloud Mesh.
    """

    def __init__(
        self,
        guard: Guard,
        route: GatewayRoute,
        settings: RcloneSettings,
        request: TransferRequest,
        deadline: float,
        memory: int,
        keep_secret: Callable[[str], None],
        shared: SharedSource | None = None,
    ) -> None:
        self._shared = shared
        self._guard = guard
        self._route = route
        self._keep_secret = keep_secret
        self._is_on = settings.webdav_gateway
        self._budget = Budget(size_for(memory))
        self._stall_seconds = settings.stall_seconds
        self._archives = settings.webdav_archives
        self._bulk = settings.webdav_bulk and not _asks_for_checksums(request)
        self._large_above = settings.webdav_chunks_mb * 1_000_000
        left = deadline - time.monotonic()
        self._give_up_at = deadline - min(left / 4, _MOST_RESERVED)
        self.request: Final = request
        self._is_shared = request.source.parameters == request.destination.parameters and (
            shared is None and request.source.type == request.destination.type
        )
        self._servers = {"source": self._server("source", request.source)}
        if not self._is_shared:
            self._servers["destination"] = self._server("destination", request.destination)
        self.batching = Batching(guard, request)
        self.made: dict[str, Gateway] = {}
        self.records: dict[Side, Record] = {}
        """What each side's gateway has seen, by the paths below its URL."""
        self._tree: ServedTree | None = None
        if traits(request.source.type).is_served:
            self._tree = tree_of(
                request.source, route.of("source"), self._budget, self._stall_seconds, memory
            )

    def routed(self) -> TransferRequest:
        """Replace each WebDAV endpoint with its gateway, which takes no credentials from rclone.

        Two endpoints with the same server and credential share a gateway, so that rclone can
        request a server-side copy. Waits until the servers have said what they are: rclone's
        vendor depends on it.
        """
        if self._tree is None:
            source = self._behind("source", self.request.source, is_destination=self._is_shared)
        else:
            source = self._as_tree(self.request.source, self._tree)
            self.records[Side.SOURCE] = self._tree.record
        if self._is_shared:
            parameters = source.parameters
            destination = replace(self.request.destination, parameters=parameters)
        else:
            destination = self._behind("destination", self.request.destination, is_destination=True)
        for side in Side:
            gateway = self._gateway_of(side)
            if gateway is not None:
                self.records[side] = gateway.record
        return replace(self.request, source=source, destination=destination)

    @property
    def memory(self) -> int:
        """Number of bytes that the gateways may hold, which rclone therefore must not use."""
        is_used = self._tree is not None or any(self._servers.values())
        return self._budget.size if is_used else 0

    def remote_parameters(self, storage_type: str) -> dict[str, str]:
        """Return more parameters for a remote of this type: the gateway gets files unchunked."""
        return {"nextcloud_chunk_size": "0"} if storage_type == "webdav" and self.made else {}

    def ask_source(self, has_file: Callable[[str], bool]) -> None:
        """Let the destination's gateway ask whether the source has a file, by its whole path at
        the destination. The function may block.
        """
        gateway = self._gateway_of(Side.DESTINATION)
        if gateway is not None:

            async def is_in_source(path: str) -> bool:
                return await asyncio.to_thread(has_file, path)

            gateway.twins.is_in_source = is_in_source

    def begin_attempt(self, number: int) -> None:
        """Clear the gateways' caches; the first attempt may use the listings of the probe."""
        for gateway in self.made.values():
            self._guard.call_soon(gateway.record.begin_attempt)
            self._guard.call_soon(gateway.begin_copy if number == 1 else gateway.forget)
        if self._tree is not None:
            self._guard.call_soon(self._tree.begin_attempt)

    def forget(self) -> None:
        """Clear the gateways' caches before a verification."""
        for gateway in self.made.values():
            self._guard.call_soon(gateway.record.begin_attempt)
            self._guard.call_soon(gateway.begin_verification)
        if self._tree is not None:
            self._guard.call_soon(self._tree.begin_attempt)

    def confirm_uploads(self) -> Future[None] | None:
        """Begin to confirm the uploads by listings; None if nothing is uploaded by a gateway."""
        gateway = self._gateway_of(Side.DESTINATION)
        return None if gateway is None else self._guard.start(gateway.confirmations.confirm)

    def ask_product(self) -> ServerProduct | None:
        """Ask the source's server for its product and version; None if it does not say."""
        from efss_transfer.engines.rclone.process.server_products import product_of

        server = self._servers["source"]
        if server is None:
            return None
        home = urlsplit(str(self.request.source.parameters["url"])).path
        asked = self._guard.start(lambda: product_of(server.upstream, home))
        with suppress(TimeoutError, CancelledError):
            return asked.result(recognition.SECONDS + 1)
        return None

    def _gateway_of(self, side: Side) -> Gateway | None:
        return self.made.get("source" if self._is_shared else side.value)

    def _server(self, side: str, end: Endpoint) -> _Server | None:
        """Begin to ask a server what it is; None for an endpoint that gets no gateway."""
        vendor = str(end.parameters.get("vendor", "other"))
        if end.type != "webdav" or vendor in _NOT_OURS or not self._is_on:
            return None
        try:
            url = str(end.parameters["url"])
            origin, home = Origin.of(url), urlsplit(url).path
        except (KeyError, ValueError):
            return None  # rclone reports the error
        route = self._route.of(side)
        shared = self._shared if side == "source" else None
        connections = (
            shared.connections if shared else Connections(route.dial, proxy=route.proxy, most=_MOST)
        )
        upstream = Upstream(
            origin,
            connections,
            may_redirect=route.may_redirect,
            stall_seconds=self._stall_seconds,
        )
        named = of_vendor(vendor)
        asked: Future[Dialect] = Future()
        if recognition.site(home) is None:
            asked.set_result(named)
        else:
            asked = self._guard.start(lambda: recognition.recognised(upstream, home, named))
        return _Server(upstream, connections, named, asked)

    def _behind(self, side: str, end: Endpoint, *, is_destination: bool) -> Endpoint:
        server = self._servers[side]
        if server is None:
            return end
        dialect = server.dialect()
        if is_hashed(dialect, str(end.parameters.get("pass", ""))):
            server.connections.limit(_MOST_BY_PASSWORD)
        shared = self._shared if side == "source" else None
        credential = (
            shared.credential
            if shared
            else credential_of(end, server.connections, self._keep_secret)
        )
        session = ServerSession(
            server.upstream,
            urlsplit(str(end.parameters["url"])).path,
            credential=credential,
            patience=min(self._stall_seconds / 2, _LONGEST_PATIENCE),
            give_up_at=self._give_up_at,
        )
        gateway = Gateway(
            session,
            server.connections,
            dialect,
            is_destination=is_destination,
            keeps_files=self.request.options.overwrite in _KEEPING,
            budget=self._budget,
            bulk=self._bulk,
            archives=self._archives,
            large_above=self._large_above,
        )
        gateway.record.waits.name_server(dialect.name)
        self.made[side] = gateway
        if not self._is_shared:  # else files are copied by the server itself
            self.batching.add(Side(side), gateway, server.connections, dialect)
        url = self._offered(gateway)
        parameters = {name: value for name, value in end.parameters.items() if name in _KEPT}
        vendor = dialect.vendor
        if dialect.needs_length and self.request.source.type in _NO_LENGTHS:
            vendor = _STREAMING
        parameters |= {"url": url, "vendor": vendor}
        return replace(end, parameters=parameters)

    def _as_tree(self, end: Endpoint, tree: ServedTree) -> Endpoint:
        # rclone reads MD5 and SHA-1 from the listings of this vendor.
        parameters = {"url": self._offered(tree), "vendor": "owncloud"}
        return replace(end, type="webdav", parameters=parameters, target_forms={}, lists={})

    def _offered(self, server: Gateway | ServedTree) -> str:
        """Return the URL at which rclone finds a server of ours.

        Random, so that no other process can have the gateway add the credential to its requests.
        """
        host = f"{secrets.token_hex(16)}.{_DOMAIN}"
        self._route.offer(host, server)
        return f"http://{host}/"


def _asks_for_checksums(request: TransferRequest) -> bool:
    """Return whether files are compared by checksums, which bulk uploads leave out."""
    options, files = request.options, request.selection.files or ()
    return (
        options.verify is VerifyMode.CHECKSUM
        or options.compare == "checksum"
        or any(file.hash for file in files)
    )
