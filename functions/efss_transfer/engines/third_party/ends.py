"""The two WebDAV ends of a third-party copy, and what this service asks them itself.

It lists, makes folders, moves and removes. The bytes of files pass between the storages alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from efss_transfer.engines.server_codes import STORAGE_ERROR, failure_of
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.engines.third_party import digests
from efss_transfer.engines.third_party.digests import Digest
from efss_transfer.engines.third_party.moves import Moves
from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import Failure, Side
from efss_transfer.webdav.credentials.endpoint_credential import credential_of
from efss_transfer.webdav.dialects import of_vendor
from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.listings import Listings, Named
from efss_transfer.webdav.memory import Memory, key
from efss_transfer.webdav.paths import Base, Segments, segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.words import RequestFailure, Words
from efss_transfer.webdav.writes.leftovers import Leftovers
from efss_transfer.webdav.writes.twins import Twins

if TYPE_CHECKING:
    from efss_transfer.engines.redaction import Redactor

_MOST_CONNECTIONS: Final = 128
_FOLDER_STATUSES: Final = frozenset({405, 406, 409})
_TWINS_ROOM: Final = 4 << 20  # bytes
# XRootD computes two checksums at once by default, and lets a third request wait for 30 seconds.
# The same request is answered at once when it comes again.
_HUNG_SECONDS: Final = 5.0
_USUAL_DIGEST: Final = 50e6  # bytes a second
_SLOWEST_DIGEST: Final = 10e6


class End:
    """One end. Its methods run in the guard's event loop, and raise Failed, Refused or NoAnswer.

    `root` is the request's path in the storage. `patience` is for how many seconds a request may
    wait for a storage that asks for it.
    """

    def __init__(
        self,
        side: Side,
        endpoint: Endpoint,
        route: SideRoute,
        redactor: Redactor,
        *,
        stall_seconds: float,
        patience: float,
    ) -> None:
        url = str(endpoint.parameters["url"])
        self.side = side
        self.root: Segments = tuple(name for name in endpoint.path.split("/") if name)
        self.connections = Connections(route.dial, proxy=route.proxy, most=_MOST_CONNECTIONS)
        upstream = Upstream(
            Origin.of(url),
            self.connections,
            may_redirect=route.may_redirect,
            stall_seconds=stall_seconds,
        )
        self._redactor = redactor
        self.credential = credential_of(
            endpoint, self.connections, lambda token: redactor.add([token])
        )
        self.session = ServerSession(
            upstream, urlsplit(url).path, credential=self.credential, patience=patience
        )
        base = Base(segments(urlsplit(url).path))
        dialect = of_vendor(str(endpoint.parameters.get("vendor", "other")))
        self.listings = Listings(self.session, base, dialect, Memory())
        self.leftovers = Leftovers(self.session, self.listings, None)
        self.moves = Moves(self.session, self.listings)
        self._folders = Folders(self._make)
        self.twins = Twins(
            self.session, self.listings, _TWINS_ROOM if side is Side.DESTINATION else 0
        )

    def failure(self, error: Exception) -> Failure:
        """The failure that an exception of this end's means."""
        failed = RequestFailure("PROPFIND", "", Words(None, "", str(error)))
        if isinstance(error, Refused):
            failed = replace(failed, words=self.session.rejected("PROPFIND", ""))
        elif isinstance(error, NoAnswer):
            failed = replace(failed, cause=error.cause)
        elif isinstance(error, Failed):
            failed = replace(failed, words=error.said, status=error.status)
        failure = failure_of(failed, self.side, self._redactor)
        if failure.code == STORAGE_ERROR and (failed.status or failed.words.status or 0) >= 500:
            # Nothing tries a request again below this engine, as rclone does.
            failure = replace(failure, retryable=True)
        return failure

    def url(self, path: Segments) -> str:
        """The URL of a path, for the other storage."""
        return self.listings.url(path)

    async def look(self, path: Segments, *, folder: bool = False) -> Named | None:
        """Look up one resource; None if there is none."""
        return await self.listings.one(path, folder=folder)

    def entries(self, folder: Segments) -> AsyncIterator[list[Named]]:
        """List a folder: see `Listings.read`. Its first entry, without a name, is its own."""
        return self.listings.read(folder, "1", folder=True)

    async def digest(
        self, path: Segments, kinds: str, expected: int | None = None
    ) -> tuple[int | None, Digest | None]:
        """Ask for a file's size and checksum, as far as the storage tells them.

        A storage may have to read all of the file, which is `expected` bytes long.
        """
        size = expected or 0
        headers = {"Want-Digest": kinds}
        if self.side is Side.DESTINATION:
            # XRootD 5.5.3 mixes up answers, or never answers, once in a thousand times that a
            # connection is used again after a checksum of what has just arrived.
            headers["Connection"] = "close"
        longest = self.session.upstream.stall_seconds + size / _SLOWEST_DIGEST
        call = Call("HEAD", self.listings.target(path), headers, silence=longest)
        with suppress(TimeoutError):
            async with asyncio.timeout(_HUNG_SECONDS + size / _USUAL_DIGEST):
                return await self._told(path, call, kinds)
        return await self._told(path, call, kinds)

    async def _told(
        self, path: Segments, call: Call, kinds: str
    ) -> tuple[int | None, Digest | None]:
        async with self.session.call(call, key(path)) as answer:
            if answer.status >= 300:
                raise await self.session.error(call, key(path), answer)
            length = answer.header("content-length") or ""
            size = int(length) if length.isdigit() else None
            return size, digests.read(answer.head.headers, kinds)

    async def make_folder(self, folder: Segments) -> None:
        """Make a folder and those above it, once for all files that need it. Raises Orphan."""
        await self._folders.ensure(folder)

    def is_there(self, folder: Segments) -> None:
        """Keep in mind that a folder exists."""
        self._folders.exists(folder)

    def is_missing(self, folder: Segments) -> None:
        """Keep in mind that a folder does not exist."""
        self._folders.is_missing(folder)

    async def remove(self, path: Segments) -> None:
        """Remove an incomplete file. If that fails, the record has a warning."""
        await self.leftovers.remove(path)

    def forget(self) -> None:
        """Ask the storage again from now on."""
        self._folders.forget()
        self.twins.forget()

    async def _make(self, folder: Segments) -> int:
        call = Call("MKCOL", self.listings.target(folder))
        async with self.session.call(call, key(folder)) as answer:
            if answer.status < 300 or answer.status in _FOLDER_STATUSES:
                return answer.status
            raise await self.session.error(call, key(folder), answer)
