"""The gateway of one WebDAV end: plain, correct WebDAV to the engine, HTTP to the server.

The engine reaches it by a reserved name and gets no credential. Every request and every answer
passes through it, so the server's exact statuses and words are known.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from efss_transfer.webdav.archives.archive_reads import ArchiveReads
from efss_transfer.webdav.budget import Budget, weight_of_body
from efss_transfer.webdav.bulk.bulk_uploads import BulkUploads
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.early_listings import EarlyListings
from efss_transfer.webdav.folders import Folders, Orphan
from efss_transfer.webdav.http import server
from efss_transfer.webdav.http.connections import Connections, NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.http.server import EngineReply, EngineRequest, Handler
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.lookups import LONGEST_REQUEST, Lookups, send_error
from efss_transfer.webdav.memory import Memory, key
from efss_transfer.webdav.paths import Base, Segments, segments
from efss_transfer.webdav.processing import Processing
from efss_transfer.webdav.reading.depth import DepthCheck
from efss_transfer.webdav.reads import Reads
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.words import Record, RequestFailure, Words
from efss_transfer.webdav.writes import refusals
from efss_transfer.webdav.writes.confirmations import Confirmations
from efss_transfer.webdav.writes.properties import Properties
from efss_transfer.webdav.writes.twins import Twins
from efss_transfer.webdav.writes.uploads import SMALL, Uploads


class Gateway:
    """Gateway between an engine and one server, bound to one event loop.

    With `is_destination` it removes abandoned uploads of gateways that were killed, in the folders
    that are listed. Without it, the copy may use listings of the probe before it. Both gateways of
    a transfer share a `budget`. `bulk` permits uploads and `archives` downloads of many files at a
    time, and files of more than `large_above` bytes may be sent in parts (0 for none). With
    `keeps_files` no file is replaced in a folder whose listing failed: it may not be empty.
    """

    def __init__(
        self,
        session: ServerSession,
        connections: Connections,
        dialect: Dialect,
        *,
        is_destination: bool = False,
        keeps_files: bool = False,
        budget: Budget | None = None,
        bulk: bool = False,
        archives: bool = False,
        large_above: int = 0,
    ) -> None:
        self._keeps_files = keeps_files
        self._budget = budget or Budget()
        self._session = session
        self._connections = connections
        self._dialect = dialect
        self._base = Base(segments(session.home))
        # A source's files are not replaced, so little need be known of them.
        room = self._budget.caches * (6 if is_destination else 1) // 8
        self._memory = Memory(room * (5 if is_destination else 3) // 8)
        self._folders = Folders(self._make_folder, room // 8)
        self._listings = Listings(session, self._base, dialect, self._memory)
        self.twins = Twins(session, self._listings, room * 3 // 16 if is_destination else 0)
        self.bulk = BulkUploads(
            session, self._listings, self._memory, self.twins, is_on=bulk and is_destination
        )
        self._uploads = Uploads(
            session,
            self._listings,
            self._folders,
            self._memory,
            dialect,
            self.twins,
            self._budget.pieces,
            self.bulk,
            large_above,
        )
        known = room // (16 if is_destination else 2) if archives else 0
        self.archives = ArchiveReads(session, self._listings, self._budget, known, dialect)
        self._reads = Reads(session, self._listings, self._memory, self._budget, self.archives)
        # What is listed at a destination changes by the copy itself.
        self._early = None if is_destination else EarlyListings(self._budget.caches // 8)
        self._processing = Processing(session.record)
        self.confirmations = Confirmations(self._listings, session.record)
        self._lookups = Lookups(
            DepthCheck(session, self._listings),
            self._folders,
            self._memory,
            self._budget,
            tidy=self._uploads.leftovers.tidy if is_destination else None,
            early=self._early,
            processing=self._processing,
            confirmations=self.confirmations,
            twins=self.twins,
            listed=self.archives.listed,
        )
        self._methods = self._acts(Properties(session, self._listings, self._memory, dialect))

    def _acts(self, properties: Properties) -> dict[str, Handler]:
        return {
            "OPTIONS": self._options,
            "PROPFIND": self._lookups.answer,
            "GET": self._reads.read,
            "HEAD": self._reads.read,
            "PUT": self._put,
            "MKCOL": self._mkcol,
            "DELETE": self._delete,
            "MOVE": self._transfer,
            "COPY": self._transfer,
            "PROPPATCH": properties.change,
            "PATCH": properties.calculate_hash,
        }

    @property
    def record(self) -> Record:
        """The failures, in the server's own words."""
        return self._session.record

    async def attend(self, connection: socket.socket) -> None:
        """Serve one connection of the engine until it ends."""
        await server.serve(connection, self.handle)

    def begin_copy(self) -> None:
        """Forget what is known of the server, but for listings that are new, before a copy."""
        self._memory.forget()
        self._folders.forget()
        self._lookups.forget()
        self.twins.forget()
        if self._early is not None:
            self._early.is_open = False

    def begin_verification(self) -> None:
        """Forget what is known of the server, and wait for files that it still processes."""
        self.forget()
        self._processing.begin(self._session.patient_until)

    def forget(self) -> None:
        """Forget what is known of the server, before a new attempt."""
        self.begin_copy()
        self.archives.clear()
        self._lookups.deep.clear()
        if self._early is not None:
            self._early.clear()

    def begin_close(self) -> None:
        """Limit the requests that remove leftovers to a few more seconds, before `close`."""
        self._uploads.clean_ups.begin_end()

    async def close(self) -> None:
        """Close all connections to the server, once all requests have ended."""
        await self.bulk.ended()
        await self.archives.ended()
        self._uploads.large.release()
        await self._uploads.clean_ups.ended()
        self._connections.close()

    async def handle(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer one request."""
        act = self._methods.get(request.method)
        if act is None:
            await reply.send(405)
            return
        try:
            is_stored = key(request.path) in self._memory.stored
            if self._session.refused and not (is_stored and request.method == "PROPFIND"):
                # At once, even for a known path: rclone waits a second after each failed PUT.
                raise Refused
            await act(request, reply)
        except Failed as failed:
            await send_error(reply, failed.status, failed.said)
        except Refused:
            said = self._session.rejected(request.method, key(request.path))
            await send_error(reply, 401, said)
        except Orphan:
            await send_error(
                reply, 409, Words(409, "", "Cannot create the parent folder: check the URL.")
            )
        except NoAnswer as error:
            said = Words(None, "", str(error))
            self.record.fail(RequestFailure(request.method, key(request.path), said, error.cause))
            # rclone repeats a request after a 502, and none after a 403.
            await send_error(reply, 403 if error.cause == "denied" else 502, said)

    async def _options(self, _: EngineRequest, reply: EngineReply) -> None:
        await reply.send(200, headers={"DAV": "1", "Allow": ", ".join(self._methods)})

    async def _put(self, request: EngineRequest, reply: EngineReply) -> None:
        # Until the file is stored, a DELETE is rclone's own, after a failed upload.
        self._memory.failed.put(key(request.path), value=True)
        self.confirmations.forget(request.path)
        with self.bulk.under_way(request.path):
            if self._keeps_files:
                await self._keep_unlisted(request.path)
            async with self.twins.storing(request.path):
                status = await self._store(request)
        await reply.send(status)

    async def _keep_unlisted(self, path: Segments) -> None:
        """Raise Failed for a file that the engine does not know of, in an unlisted folder."""
        if key(path[:-1]) not in self._memory.unlisted:
            return
        if await self._listings.one(path, folder=False) is not None:
            self.record.fail(RequestFailure("PUT", key(path), refusals.UNLISTED))
            raise Failed(409, refusals.UNLISTED)  # rclone does not repeat the request

    async def _store(self, request: EngineRequest) -> int:
        """Store a body, in memory or as a stream; return the status for the engine."""
        body, is_plain = request.body, self._session.is_plain
        length = body.length if isinstance(body.length, int) else None
        if length is not None and length <= SMALL:
            async with self._budget.holding(weight_of_body(length, is_plain=is_plain)):
                return await self._uploads.store(request)
        with self._budget.lending(length, is_plain=is_plain) as buffer:
            body.use(buffer)
            return await self._uploads.store(request)

    async def _mkcol(self, request: EngineRequest, reply: EngineReply) -> None:
        await request.whole(LONGEST_REQUEST)
        with self.bulk.making_folder():
            await self._folders.ensure(request.path)
        await reply.send(201)

    async def _make_folder(self, folder: Segments) -> int:
        call = Call("MKCOL", self._listings.target(folder, folder=True))
        async with self._session.call(call, key(folder)) as answer:
            if answer.status < 300:
                # A new folder has no files, so all of them are known.
                self._memory.has_listed(folder)
            elif answer.status == 409:
                # The reason, unless its parent can be made.
                await self._session.error(call, key(folder), answer)
                return answer.status
            elif answer.status not in (405, 406):
                raise await self._session.error(call, key(folder), answer)
            status = answer.status
        if status in (405, 406) and await self._listings.one(folder, folder=False) is None:
            # As Nextcloud answers for a name that it reserves, such as "a.part".
            said = Words(status, "", "The server makes no folder of this name.")
            raise self._session.failed(call, key(folder), said, 400)
        self._session.record.succeed(key(folder))
        return status

    async def _delete(self, request: EngineRequest, reply: EngineReply) -> None:
        is_failed = self._memory.failed.pop(key(request.path))
        if is_failed or await self._uploads.conditions.is_anothers(request.path):
            # rclone's own, after a failed upload: a file there is the old one, or another client's.
            await reply.send(204)
            return
        folder = request.raw.endswith("/")
        call = Call("DELETE", self._listings.target(request.path, folder=folder))
        await self._session.succeed(call, key(request.path))
        if folder:
            self.forget()
        self._memory.etags.pop(key(request.path))
        self._memory.stored.pop(key(request.path))
        self.confirmations.forget(request.path)
        self.twins.removed(request.path)
        await reply.send(204)

    async def _transfer(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer MOVE and COPY, which the server does itself."""
        to = segments(urlsplit(request.header("destination") or "").path)
        folder = request.raw.endswith("/")
        headers = {
            "Destination": self._listings.url(to, folder=folder),
            "Overwrite": request.header("overwrite") or "T",
        }
        if (time := request.header("x-oc-mtime")) is not None:
            headers["X-OC-Mtime"] = time
        call = Call(request.method, self._listings.target(request.path, folder=folder), headers)
        try:
            answer = await self._session.succeed(call, key(request.path))
        except Failed as failed:
            # OpenCloud answers COPY of a file in post-processing by 500.
            may_pass = request.method == "COPY" and not folder and failed.status >= 500
            if not may_pass or not await self._was_processed(request.path):
                raise
            answer = await self._session.succeed(call, key(request.path))
            self.record.succeed(key(request.path))
        self.forget()
        accepted = answer.header("x-oc-mtime")
        await reply.send(answer.status, headers={"X-OC-Mtime": accepted} if accepted else {})

    async def _was_processed(self, path: Segments) -> bool:
        """Wait for the end of a file's post-processing; return whether it was in it."""
        found = await self._listings.one(path, folder=False)
        if found is None or found.entry.failure != 425:
            return False
        call = Call("HEAD", self._listings.target(path))
        async with self._session.call(call, key(path)) as answer:
            return answer.status < 300
