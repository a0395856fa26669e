"""Serve a list of files as a WebDAV tree to an engine, which copies it as it copies any other.

Selection, comparing, retries, progress and outcomes stay the engine's. It only reads: a request
that writes is refused.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from email.utils import formatdate
from typing import Final

from efss_transfer.served.contents import Contents, Differing, Unreadable
from efss_transfer.served.documents import Unlisted
from efss_transfer.served.manifest import Found, Manifest, UrlFile
from efss_transfer.served.servers import Servers
from efss_transfer.served.sizes import Sizes
from efss_transfer.webdav import listings
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.http import server
from efss_transfer.webdav.http.server import Abort, EngineReply, EngineRequest
from efss_transfer.webdav.listing_answer import ListingAnswer
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.lookups import LONGEST_REQUEST, send_error
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.words import Record, RequestFailure, Words

UNTIMED: Final = 946_684_800
"""Time of a file whose time nobody says, 2000-01-01: the same each time, so that a later request
finds the file unchanged."""
_SMALL: Final = 1 << 17
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_ALLOWED: Final = "OPTIONS, PROPFIND, GET, HEAD"
# The kinds that rclone reads from a listing.
_LISTED_KINDS: Final = frozenset({"md5", "sha1"})

Load = Callable[[], Awaitable[Manifest]]
"""Function that reads the list. Raises Unlisted."""


class ServedTree:
    """Tree of one list, bound to one event loop. `load` reads the list, once it is needed."""

    def __init__(self, load: Load, servers: Servers, budget: Budget) -> None:
        self._load = load
        self._servers = servers
        self._contents = Contents(servers, budget)
        self._sizes = Sizes(servers)
        self._loading: asyncio.Task[Manifest] | None = None

    @property
    def record(self) -> Record:
        """The failures, in the servers' own words."""
        return self._servers.record

    async def attend(self, connection: socket.socket) -> None:
        """Serve one connection of the engine until it ends."""
        await server.serve(connection, self.handle)

    def begin_attempt(self) -> None:
        """Try again what failed in the attempt before."""
        self.record.begin_attempt()
        self._contents.begin_attempt()
        self._servers.begin_attempt()
        task = self._loading
        if task is not None and task.done() and (task.cancelled() or task.exception()):
            self._loading = None

    def begin_close(self) -> None:
        """Do nothing: nothing is left at a server."""

    async def close(self) -> None:
        """Close all connections, and forget the list."""
        task, self._loading = self._loading, None
        if task is not None:
            task.cancel()
            (loaded,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(loaded, Manifest):
                loaded.close()
        self._servers.close()

    async def handle(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer one request."""
        if request.method == "OPTIONS":
            await reply.send(200, headers={"DAV": "1", "Allow": _ALLOWED})
        elif request.method not in ("PROPFIND", "GET", "HEAD"):
            await reply.send(405, headers={"Allow": _ALLOWED})
        else:
            try:
                await self._answer(request, reply)
            except (Unlisted, Unreadable) as error:
                failure = error.failure
                self.record.fail(failure)
                await send_error(reply, _status(failure), failure.words)

    async def _answer(self, request: EngineRequest, reply: EngineReply) -> None:
        await request.whole(LONGEST_REQUEST)
        manifest = await self._manifest(key(request.path))
        found = manifest.find(request.path)
        if found is None:
            self.record.is_absent(key(request.path))
            said = Words(404, "", "The list has no file or folder of this path.")
            await send_error(reply, 404, said)
        elif request.method == "PROPFIND":
            await self._list(manifest, found, request, reply)
        elif found.file is None:
            await reply.send(405, headers={"Allow": _ALLOWED})
        elif request.method == "GET":
            await self._read(found.file, request, reply)
        else:
            listed = await self._sized(manifest, found.file)
            headers = {"Accept-Ranges": "bytes"} | _times(listed)
            await reply.begin(200, headers, listed.size)

    async def _manifest(self, path: str) -> Manifest:
        """Return the list once it is read. Raises Unlisted, for the path that was asked for."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(self._load())
        try:
            return await asyncio.shield(self._loading)
        except Unlisted as error:
            it = error.failure
            raise Unlisted(
                RequestFailure("PROPFIND", path, it.words, it.cause, it.status)
            ) from None

    async def _list(
        self, manifest: Manifest, found: Found, request: EngineRequest, reply: EngineReply
    ) -> None:
        depth = request.header("depth") or "infinity"
        if depth not in ("0", "1"):
            await reply.send(403)
            return
        own = found.file
        if own is not None:
            own = await self._sized(manifest, own)
        answer = ListingAnswer(reply, None, request.raw)
        answer.add(listings.rendered(request.raw, Named(None, _entry(own), _size(own))))
        if depth == "1" and own is None:
            await self._add_entries(manifest, request, answer)
        await answer.end()

    async def _add_entries(
        self, manifest: Manifest, request: EngineRequest, answer: ListingAnswer
    ) -> None:
        on_file = self.record.on_file
        for entries in manifest.entries(request.path):
            learned = await self._sizes.ask(
                [one.file for one in entries if one.file is not None and one.file.size is None]
            )
            for one in entries:
                file = one.file
                if file is not None:
                    file = self._learned(manifest, learned.get(file.path, file))
                    if on_file is not None:
                        on_file(file.path)
                answer.add(
                    listings.rendered(request.raw, Named(one.name, _entry(file), _size(file)))
                )
            await answer.send_if_long()
            await asyncio.sleep(0)

    async def _sized(self, manifest: Manifest, listed: UrlFile) -> UrlFile:
        if listed.size is not None:
            return listed
        learned = await self._sizes.ask([listed])
        return self._learned(manifest, learned.get(listed.path, listed))

    def _learned(self, manifest: Manifest, listed: UrlFile) -> UrlFile:
        manifest.learn(tuple(listed.path.split("/")), listed.size, listed.modified)
        return listed

    async def _read(self, listed: UrlFile, request: EngineRequest, reply: EngineReply) -> None:
        """Send the bytes of a file. Raises Unreadable."""
        found = _RANGE.fullmatch((request.header("range") or "").strip())
        start = int(found[1]) if found else 0
        end = int(found[2]) + 1 if found and found[2] else None
        if listed.size is not None and end is not None and end >= listed.size:
            end = None
        if listed.size is not None and start and start >= listed.size:
            await reply.send(416, headers={"Content-Range": f"bytes */{listed.size}"})
            return
        if found and listed.size is None:
            start, end, found = 0, None, None  # a part of a file without a size has no form
        while True:
            try:
                await self._send(listed, start, end, reply, is_part=found is not None)
            except Unreadable as error:
                if reply.started:
                    raise Abort from None
                if not (isinstance(error, Differing) and self._contents.has_others(listed)):
                    raise
            else:
                self.record.succeed(listed.path)
                return

    async def _send(
        self, listed: UrlFile, start: int, end: int | None, reply: EngineReply, *, is_part: bool
    ) -> None:
        stop = end if end is not None else listed.size
        headers = {"Accept-Ranges": "bytes"} | _times(listed)
        length = None if stop is None else stop - start
        if is_part and stop is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{listed.size}"
        status = 206 if is_part else 200
        waiting = bytearray()
        async with aclosing(self._contents.pieces(listed, start, end=end)) as reading:
            async for piece in reading:
                if not reply.started:
                    waiting += piece
                    if len(waiting) <= _SMALL:
                        continue
                    await reply.begin(status, headers, length)
                    await reply.write(bytes(waiting))
                    waiting = bytearray()
                else:
                    await reply.write(piece)
        if reply.started:
            await reply.end()
        else:
            await reply.send(status, bytes(waiting), headers)


def _entry(listed: UrlFile | None) -> Entry:
    if listed is None:
        return listings.folder_entry()
    time = UNTIMED if listed.modified is None else listed.modified
    properties = {"DAV: getlastmodified": formatdate(time, usegmt=True)}
    check = listed.checksum
    sums = (f"{check.kind.upper()}:{check.value.hex()}",) if check is not None else ()
    is_shown = check is not None and check.kind in _LISTED_KINDS
    return Entry(
        "", None, (), collection=False, checksums=sums if is_shown else (), properties=properties
    )


def _size(listed: UrlFile | None) -> int | None:
    return None if listed is None else -1 if listed.size is None else listed.size


def _times(listed: UrlFile) -> dict[str, str]:
    time = UNTIMED if listed.modified is None else listed.modified
    return {"Last-Modified": formatdate(time, usegmt=True)}


def _status(failure: RequestFailure) -> int:
    """Return the status for the engine: rclone repeats a request after 502, and not after 403."""
    if failure.cause is not None:
        return 403 if failure.cause == "denied" else 502
    return failure.status or failure.words.status or 502
