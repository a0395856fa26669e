"""Answer the engine's PROPFIND: from the server, or from what is known for certain."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from efss_transfer.webdav import listings
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.early_listings import EarlyListings
from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.http.server import Abort, EngineReply, EngineRequest
from efss_transfer.webdav.listings import Listings, Named
from efss_transfer.webdav.memory import Memory, key, strong
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.processing import Processing
from efss_transfer.webdav.session import Failed
from efss_transfer.webdav.words import Words
from efss_transfer.webdav.writes.confirmations import Confirmations
from efss_transfer.webdav.writes.names import PARTIAL
from efss_transfer.webdav.writes.twins import Twins

XML: Final = {"Content-Type": listings.XML_TYPE}
LONGEST_REQUEST: Final = 1 << 20
_BEFORE_SENDING: Final = 1 << 18
# What one listing holds: a piece of the server's, its entries, and those that wait to be sent.
_LISTING: Final = 3 << 17
_MOST_LEFT: Final = 1000  # more are removed by the next listing

Tidy = Callable[[Segments, list[tuple[str, Entry]]], Awaitable[None]]
"""Function that removes abandoned uploads, given with their names, from a folder."""


async def send_error(reply: EngineReply, status: int, said: Words) -> None:
    """Answer with an error. Raises Abort if an answer has already begun."""
    if reply.started:
        raise Abort
    headers = dict(XML)
    if said.retry_after is not None:
        headers["Retry-After"] = str(int(said.retry_after))
    await reply.send(status, said.to_xml(), headers)


class Lookups:
    """Answers to PROPFIND. `tidy` removes abandoned uploads; `early` keeps listings; `processing`
    waits for files; `confirmations` gets the uploads that are answered for without a request, and
    `twins` are names at a destination.
    """

    def __init__(
        self,
        server: Listings,
        folders: Folders,
        memory: Memory,
        budget: Budget,
        *,
        tidy: Tidy | None,
        early: EarlyListings | None,
        processing: Processing,
        confirmations: Confirmations,
        twins: Twins,
    ) -> None:
        self._listings = server
        self._confirmations = confirmations
        self._folders = folders
        self._memory = memory
        self._budget = budget
        self._tidy = tidy
        self._early = early
        self._processing = processing
        self._twins = twins
        # Whether the configured URL exists; None if that must be asked.
        self._has_home: bool | None = None

    async def answer(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer one PROPFIND. Raises as `ServerSession.call` does."""
        body = await request.whole(LONGEST_REQUEST)
        path, depth = request.path, request.header("depth") or "infinity"
        if depth not in ("0", "1"):
            await reply.send(403)
        elif depth == "1":
            async with self._budget.holding(_LISTING):
                await self._list(request, reply)
        elif (stored := self._memory.stored.pop(key(path))) is not None:
            await self._confirmations.expect(path, stored)
            one = Named(None, listings.stored_entry(stored), stored.size)
            await self._show(request, reply, one)
        else:
            folder = request.raw.endswith("/")
            await self._twins.settled(path)
            found = await self._one(path, folder=folder, quota=b"quota-" in body)
            if found and not found.entry.collection and await self._twins.replaced_by(path):
                found = None  # it is another file of the source: not to be compared with this one
            if found is None:
                await self._missing(request, reply)
                return
            self._has_home = True
            if found.entry.collection:
                self._folders.exists(path)
            else:
                self._memory.etags.put(key(path), strong(found.entry.get("getetag")))
                self._twins.found(path)
            await self._show(request, reply, found)

    def forget(self) -> None:
        """Ask anew for the configured URL if it did not exist."""
        self._has_home = self._has_home or None

    async def _one(self, path: Segments, *, folder: bool, quota: bool = False) -> Named | None:
        """Look up one resource, and in a verification wait until it is processed."""
        for count in itertools.count():
            found = await self._listings.one(path, folder=folder, quota=quota)
            if found is None or not self._processing.is_unready(path, found.entry):
                break
            await self._processing.pause(count)
        return found

    async def _show(self, request: EngineRequest, reply: EngineReply, one: Named) -> None:
        shown = listings.rendered(request.raw, one)
        await reply.send(207, listings.OPENING + shown + listings.CLOSING, XML)

    async def _missing(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer that a path does not exist, or why none below the configured URL can."""
        if self._has_home is None:
            self._has_home = await self._listings.has_home()
        if not self._has_home:
            # At the source rclone then reports a missing folder. A destination's would be created,
            # and each file would fail.
            status = 404 if self._tidy is None else 403
            raise self._listings.homeless(request.path, status)
        if request.raw.endswith("/"):
            self._folders.is_missing(request.path)
        await send_error(reply, 404, Words(404, "", "The server has no resource at this path."))

    async def _list(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer with the entries of a folder. The first 256 KiB are checked before any of them
        is sent, so that most errors get a status of their own; a later error breaks the answer.
        """
        path = request.path
        if self._folders.is_empty(path):
            await self._show(request, reply, Named(None, listings.folder_entry()))
            return
        if self._early is None:
            await self._list_anew(request, reply)
            return
        await self._early.arrived(request.raw)
        if (body := self._early.take(request.raw)) is not None:
            await reply.send(207, body, XML)
        elif self._early.is_open:
            reply.outlives_engine = True
            with self._early.arriving(request.raw):
                await self._list_anew(request, reply)
        else:
            await self._list_anew(request, reply)

    async def _list_anew(self, request: EngineRequest, reply: EngineReply) -> None:
        path, dropped = request.path, self._memory.dropped
        left: list[Named] = []
        for count in itertools.count():
            answer = _ListingAnswer(reply, self._early, request.raw)
            answer.add(listings.rendered(request.raw, Named(None, listings.folder_entry())))
            left.clear()
            try:
                if await self._read(request, answer, left):
                    break
            except BaseException as error:
                answer.discard()
                if isinstance(error, Failed) and error.status == 404 and not reply.started:
                    await self._missing(request, reply)
                    return
                self._memory.unlisted.put(key(path), value=True)
                raise
            answer.discard()
            await self._processing.pause(count)
        self._has_home = True
        self._folders.exists(path)
        self._memory.unlisted.pop(key(path))
        if self._memory.dropped == dropped:
            self._memory.has_listed(path)
        if self._tidy is not None:
            await self._tidy(path, [(one.name or "", one.entry) for one in left])
        await answer.end()

    async def _read(
        self, request: EngineRequest, answer: _ListingAnswer, left: list[Named]
    ) -> bool:
        """Add the entries to the answer. False if they must be read again, because there is a file
        to wait for and nothing was sent.
        """
        path, is_complete = request.path, True
        async with aclosing(self._listings.read(path, "1", folder=True)) as reading:
            async for entries in reading:
                if len(left) < _MOST_LEFT:
                    left += [one for one in entries if PARTIAL.fullmatch(one.name or "")]
                for one in self._noted(path, entries) if is_complete else ():
                    shown: Named | None = one
                    if self._processing.is_unready((*path, one.name or ""), one.entry):
                        is_complete = answer.has_begun
                        shown = await self._awaited(path, one) if is_complete else None
                    if shown is not None:
                        answer.add(listings.rendered(request.raw, shown))
                if is_complete:
                    await answer.send_if_long()
        return is_complete

    async def _awaited(self, path: Segments, one: Named) -> Named | None:
        """Wait for one file of a listing; None if it vanishes."""
        found = await self._one((*path, one.name or ""), folder=False)
        return None if found is None else Named(one.name, found.entry, found.size)

    def _noted(self, path: Segments, entries: list[Named]) -> list[Named]:
        """Remember the files, and return the entries that the engine may see."""
        shown = []
        for one in entries:
            if one.name is None or PARTIAL.fullmatch(one.name):
                continue
            if not one.entry.collection:
                etag = strong(one.entry.get("getetag"))
                self._memory.etags.put(key((*path, one.name)), etag)
                self._twins.found((*path, one.name))
                if not one.size:
                    self._memory.empty.put(key((*path, one.name)), value=True)
            shown.append(one)
        return shown


class _ListingAnswer:
    """Answer with a listing, sent in long pieces, and kept if `early` still keeps listings."""

    def __init__(self, reply: EngineReply, early: EarlyListings | None, folder: str) -> None:
        self._reply = reply
        self._early = early if early is not None and early.is_open else None
        self._folder = folder
        self._kept: list[bytes] = []
        self._reserved = 0
        self._waiting = [listings.OPENING]
        self._size = 0
        self._engine_is_gone = False

    def add(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._size += len(piece)

    @property
    def has_begun(self) -> bool:
        """Whether a part of it was sent."""
        return self._reply.started

    async def send_if_long(self) -> None:
        if self._size <= _BEFORE_SENDING:
            return
        piece = self._piece()
        if self._engine_is_gone:
            if self._early is None:
                raise Abort  # it is neither sent nor kept
            return
        try:
            if not self._reply.started:
                await self._reply.begin(207, XML, None)
            await self._reply.write(piece)
        except OSError:
            if self._early is None:
                raise
            self._engine_is_gone = True

    async def end(self) -> None:
        self.add(listings.CLOSING)
        last = self._piece()
        if self._early is not None:
            self._early.keep(self._folder, b"".join(self._kept))
        self.discard()
        if self._engine_is_gone:
            raise Abort
        if self._reply.started:
            await self._reply.write(last)
            await self._reply.end()
        else:
            await self._reply.send(207, last, XML)

    def discard(self) -> None:
        """Keep nothing of it any longer."""
        self._kept.clear()
        if self._early is not None:
            self._early.release(self._reserved)
            self._early = None

    def _piece(self) -> bytes:
        piece = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if self._early is not None:
            if self._early.reserve(self._folder, len(piece)):
                self._reserved += len(piece)
                self._kept.append(piece)
            else:
                self.discard()
        return piece
