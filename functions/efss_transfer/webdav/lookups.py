"""Answer the engine's PROPFIND: from the server, or from what is known for certain."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from efss_transfer.webdav import listings
from efss_transfer.webdav.archives.known_files import KnownFiles, KnownFolder
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.early_listings import EarlyListings
from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.http.server import Abort, EngineReply, EngineRequest
from efss_transfer.webdav.listing_answer import ListingAnswer
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.memory import Memory, key, strong
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.processing import Processing
from efss_transfer.webdav.reading.depth import DepthCheck
from efss_transfer.webdav.session import Failed
from efss_transfer.webdav.trees.deep_listings import DeepListings
from efss_transfer.webdav.words import Words
from efss_transfer.webdav.writes.confirmations import Confirmations
from efss_transfer.webdav.writes.names import PARTIAL
from efss_transfer.webdav.writes.twins import Twins

XML: Final = {"Content-Type": listings.XML_TYPE}
LONGEST_REQUEST: Final = 1 << 20
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
    waits for files; `confirmations` gets the uploads that are answered for without a request,
    `twins` are names at a destination, and `listed` keeps what is said of small files.
    """

    def __init__(
        self,
        depth: DepthCheck,
        folders: Folders,
        memory: Memory,
        budget: Budget,
        *,
        tidy: Tidy | None,
        early: EarlyListings | None,
        processing: Processing,
        confirmations: Confirmations,
        twins: Twins,
        listed: KnownFiles,
    ) -> None:
        self._depth = depth
        self._listings = depth.listings
        is_deep, is_destination = depth.listings.dialect.trees, tidy is not None
        self.deep = DeepListings(
            depth.listings, budget, is_on=is_deep, is_destination=is_destination
        )
        self._listed = listed
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
            await self._processing.pause(count, path)
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
            listed = self._listed.arriving()
            answer = ListingAnswer(reply, self._early, request.raw)
            answer.add(listings.rendered(request.raw, Named(None, listings.folder_entry())))
            left.clear()
            try:
                if await self._read(request, answer, left, listed):
                    if self._early is not None:  # a destination's folder may well be empty
                        await self._depth.confirm_empty(path)
                    break
            except BaseException as error:
                answer.discard()
                if isinstance(error, Failed) and error.status == 404 and not reply.started:
                    await self._missing(request, reply)
                    return
                self._memory.unlisted.put(key(path), value=True)
                raise
            answer.discard()
            await self._processing.pause(count, path)
        listed_at = self.deep.time_of(path)
        self._has_home = True
        self._folders.exists(path)
        self._memory.unlisted.pop(key(path))
        self._listed.put(path, listed)
        if self._memory.dropped == dropped:
            self._memory.has_listed(path, listed_at)
        if self._tidy is not None:
            await self._tidy(path, [(one.name or "", one.entry) for one in left])
        await answer.end()

    async def _read(
        self,
        request: EngineRequest,
        answer: ListingAnswer,
        left: list[Named],
        listed: KnownFolder,
    ) -> bool:
        """Add the entries to the answer. False if they must be read again, because there is a file
        to wait for and nothing was sent.
        """
        path, is_complete = request.path, True
        async with aclosing(self.deep.read(path)) as reading:
            async for entries in reading:
                self._depth.saw(entries)
                if len(left) < _MOST_LEFT:
                    left += [one for one in entries if PARTIAL.fullmatch(one.name or "")]
                for one in self._noted(path, entries, listed) if is_complete else ():
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

    def _noted(self, path: Segments, entries: list[Named], listed: KnownFolder) -> list[Named]:
        """Remember the files, and return the entries that the engine may see."""
        shown, on_file = [], self._listings.session.record.on_file
        for one in entries:
            if one.name is None:
                continue
            if PARTIAL.fullmatch(one.name):
                listed.names.add_other()
                continue
            if one.entry.collection:
                listed.names.add_folder(one.name)
            else:
                etag, whole = strong(one.entry.get("getetag")), key((*path, one.name))
                self._memory.etags.put(whole, etag)
                self._twins.found((*path, one.name))
                if not one.size:
                    self._memory.empty.put(whole, value=True)
                if on_file is not None:
                    on_file(whole)
                if one.size == one.entry.length:
                    listed.add(one.name, one.entry)
                else:
                    listed.names.add_other()
            shown.append(one)
        return shown
