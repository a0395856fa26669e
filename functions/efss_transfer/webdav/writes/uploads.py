"""Upload files so that the old file survives every refused or cut-off upload.

Where PUT replaces a file atomically, one conditional PUT is enough. Elsewhere the bytes go to a
temporary name beside the file, and a MOVE replaces the file once all have arrived.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from efss_transfer.webdav import words
from efss_transfer.webdav.bulk.bulk_uploads import BulkUploads
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held, Upload
from efss_transfer.webdav.http.server import EngineRequest, Streamed
from efss_transfer.webdav.large.large_uploads import LargeUploads
from efss_transfer.webdav.large.means import Means
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory, Stored, key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.tus.resumable_uploads import ResumableUploads
from efss_transfer.webdav.words import Words
from efss_transfer.webdav.writes import names, refusals
from efss_transfer.webdav.writes.chunks import Chunks, NoChunks
from efss_transfer.webdav.writes.cleanups import CleanUps
from efss_transfer.webdav.writes.conditions import ABSENT, Conditions
from efss_transfer.webdav.writes.kept import Kept
from efss_transfer.webdav.writes.leftovers import Leftovers
from efss_transfer.webdav.writes.passed import passed
from efss_transfer.webdav.writes.pieces import Pieces
from efss_transfer.webdav.writes.quota import Quota
from efss_transfer.webdav.writes.twins import Twins

SMALL: Final = 1 << 17
"""Largest body that is held in memory before it is sent, so that it can be sent again."""

_AGAIN: Final = 503  # rclone then copies the file again
_NEVER: Final = 501  # rclone does not copy it again
_NO_MOVE: Final = frozenset({400, 403, 405, 501, 502})


class Uploads:
    """Uploads to one server. `room` is that of `Pieces`, `large_above` that of `Means`."""

    def __init__(
        self,
        session: ServerSession,
        listings: Listings,
        folders: Folders,
        memory: Memory,
        dialect: Dialect,
        twins: Twins,
        room: int,
        bulk: BulkUploads,
        large_above: int,
    ) -> None:
        self._session = session
        self._listings = listings
        self._folders = folders
        self._memory = memory
        self._dialect = dialect
        self.conditions = Conditions(listings, memory, dialect, twins)
        self._quota = Quota(listings.free)
        self._pieces = Pieces(room)
        self._chunks = Chunks(session, listings)
        self._bulk = bulk
        # In ownCloud nobody has looked for them.
        self.leftovers = Leftovers(session, listings, self._chunks if dialect.in_place else None)
        self.clean_ups = CleanUps()
        seen = (self.conditions, self.clean_ups, bulk.capabilities, folders.forget)
        means = Means(session, listings, *seen, large_above)
        self.large: LargeUploads | ResumableUploads = (
            LargeUploads(means, self._chunks) if dialect.in_place else ResumableUploads(means)
        )
        self._moves = True

    async def store(self, request: EngineRequest) -> int:
        """Store the body of a PUT; return the status for the engine. Raises as a call does."""
        path, headers = request.path, passed(request, self._dialect)
        length = request.body.length
        self._folders.fills(path[:-1])
        self._memory.stored.pop(key(path))
        if isinstance(length, int):
            await self._check_space(path, length)
        if isinstance(length, int) and length <= SMALL:
            upload = Held(await request.whole(SMALL))
            kept = await self._stored(path, upload, headers)
            if self._dialect.hashes_files:
                kept.checksum = f"SHA1:{upload.sha1} MD5:{upload.md5}"
        elif isinstance(length, int) or not self._dialect.needs_length:
            large = await self.large.store(path, request.body, headers)
            kept = large or await self._stored(path, Streamed(request.body), headers)
        else:
            kept = await self._measured(path, request.body, headers)
        self._remember(path, request.body.count, headers, kept)
        if (given := request.header("x-oc-mtime")) is not None and "x-oc-mtime" not in headers:
            text = f"The server refuses the modification time {words.shown_time(given)}."
            self._session.record.warn("time_not_kept", key(path), text)
        return kept.status

    async def _check_space(self, path: Segments, size: int) -> None:
        """Refuse a file that does not fit, before a byte of it is sent. Raises Failed."""
        if (free := await self._quota.lacks(path[:-1], size)) is not None:
            if self._dialect.drives:
                there = await self._listings.one(path, folder=False)
                if there is not None and size - (there.size or 0) <= free:
                    return
            call = Call("PUT", self._listings.target(path))
            said = refusals.no_space(key(path), size, free)
            raise self._session.failed(call, key(path), said)

    async def _stored(self, path: Segments, upload: Upload, headers: dict[str, str]) -> Kept:
        """Store a body in the way that suits the server, the file and the size."""
        is_small = isinstance(upload, Held) and (upload.length or 0) <= SMALL
        if self._dialect.checksums and isinstance(upload, Held):
            # Otherwise rclone asks Nextcloud for a hash of each file after storing it.
            headers.setdefault("oc-checksum", f"SHA1:{upload.sha1}")
        is_new = self._memory.is_absent(path)
        if is_new and (kept := await self._bulk.store(path, upload, headers)) is not None:
            return kept
        replaces_in_place = self._dialect.in_place and not is_new
        session = self._chunks.session() if replaces_in_place else None
        if session is not None:
            sending = self._chunks.send(session, path, upload)
            with suppress(NoChunks):
                return await self._in_chunks(session, path, sending, headers)
        if self._dialect.atomic and not replaces_in_place:
            return await self._in_place(path, upload, headers)
        if not self._moves or (is_new and is_small) or not names.survive_moves(path):
            return await self._directly(path, upload, headers, is_new=is_new)
        return await self._by_the_side(path, upload, headers, is_new=is_new)

    async def _measured(self, path: Segments, body: Body, headers: dict[str, str]) -> Kept:
        """Store a body of unknown length at a server that must know each length."""
        async with aclosing(self._pieces.cut(body)) as pieces:
            first = await anext(pieces)
            if body.ended:
                return await self._stored(path, first, headers)
            session = self._chunks.session() if self._dialect.chunks else None
            if session is None:
                call = Call("PUT", self._listings.target(path))
                raise self._session.failed(call, key(path), refusals.NO_LENGTH, _NEVER)
            sending = self._chunks.send_pieces(session, path, first, pieces)
            try:
                return await self._in_chunks(session, path, sending, headers)
            except NoChunks as error:
                raise error.failed from error

    async def _in_place(self, path: Segments, upload: Upload, headers: Mapping[str, str]) -> Kept:
        """Send one PUT, conditional on the listed state of the file."""
        condition = await self.conditions.certain(path)
        while True:
            sent = {**self.conditions.with_unique_time(headers, condition), **condition}
            call = Call("PUT", self._listings.target(path), sent, upload)
            async with self._session.call(call, key(path)) as answer:
                if answer.status < 300:
                    if condition == ABSENT and answer.status == 204:
                        self._session.record.warn(
                            "preconditions_ignored", key(path), refusals.OVERWROTE
                        )
                    return Kept.of(answer)
                failed = await self._session.error(call, key(path), answer)
            if self._dialect.versions_by_time and failed.said == Words(500):
                failed = self._session.failed(call, key(path), refusals.NO_VERSION)
            if not condition or failed.status not in self._dialect.mismatch:
                raise self._explained(failed)
            if (looked := await self.conditions.looked(path)) == condition:
                # The condition holds, so the refusal has another cause.
                raise self._explained(failed)
            condition = looked
            if not upload.replayable:
                raise Failed(_AGAIN, failed.said)

    async def _in_chunks(
        self,
        session: str,
        path: Segments,
        sending: Coroutine[Any, Any, int | None],
        headers: Mapping[str, str],
    ) -> Kept:
        """Send chunks to a folder of their own; the server then makes the file of them."""
        condition = self.conditions.known(path)
        remove = partial(self._chunks.remove, session)
        try:
            async with self.clean_ups.remains(remove, session, self._session.record) as remains:
                try:
                    size = await sending
                except NoChunks:
                    remains.exist = False
                    raise
                remains.are_in_use = True
                answer = await self._chunks.assemble(session, path, size, headers, condition)
        except Failed as failed:
            if condition and failed.status in self._dialect.mismatch:
                await self.conditions.looked(path)
                raise Failed(_AGAIN, failed.said) from failed
            raise self._explained(failed) from failed
        return Kept.of(answer)

    async def _directly(
        self, path: Segments, upload: Upload, headers: Mapping[str, str], *, is_new: bool
    ) -> Kept:
        """Send one PUT to a server that may write in place.

        Used for a new file in memory, and where MOVE does not work.
        """
        condition = ABSENT if is_new else {}
        call = Call("PUT", self._listings.target(path), {**headers, **condition}, upload)
        try:
            async with self._session.call(call, key(path)) as answer:
                if answer.status < 300:
                    if is_new:
                        self._session.record.added("PUT", key(path), answer.status)
                    return Kept.of(answer)
                failed = await self._session.error(call, key(path), answer)
        except NoAnswer:
            if is_new:
                await self.leftovers.clear(path, upload.length)
            raise
        if condition and failed.status == 412:
            await self.conditions.looked(path)
            raise Failed(_AGAIN, failed.said)
        raise self._explained(failed)

    async def _by_the_side(
        self, path: Segments, upload: Upload, headers: Mapping[str, str], *, is_new: bool
    ) -> Kept:
        """Send a PUT to a temporary name, then MOVE it to the file's name."""
        aside = (*path[:-1], names.partial_name())
        call = Call("PUT", self._listings.target(aside), headers, upload)
        remove, record = partial(self.leftovers.remove, aside), self._session.record
        async with self.clean_ups.remains(remove, key(aside), record) as remains:
            async with self._session.call(call, key(path)) as answer:
                if answer.status >= 300:
                    raise self._explained(await self._session.error(call, key(path), answer))
            remains.are_in_use = True
            await self._moved(aside, path, is_new=is_new)
        return Kept()

    async def _moved(self, aside: Segments, path: Segments, *, is_new: bool) -> None:
        headers = {"Destination": self._listings.url(path), "Overwrite": "F" if is_new else "T"}
        call = Call("MOVE", self._listings.target(aside), headers)
        try:
            async with self._session.call(call, key(path)) as answer:
                if answer.status < 300:
                    if is_new:
                        self._session.record.added("MOVE", key(path), answer.status)
                    return
                failed = await self._session.error(call, key(path), answer)
        except NoAnswer:
            # The MOVE may have succeeded: then the temporary name no longer exists.
            if await self._listings.one(aside, folder=False) is None:
                return
            raise
        if failed.status == 412:
            await self.conditions.looked(path)
        elif failed.status in _NO_MOVE:
            self._moves = False
            text = f"The server refused MOVE with {failed.status}."
            self._session.record.warn("no_atomic_replacement", key(path), text)
        else:
            raise failed
        raise Failed(_AGAIN, failed.said)

    def _explained(self, failed: Failed) -> Failed:
        """Return the error of an upload. If the server lacks its folder, forget all folders."""
        if failed.status in (404, 409):
            # The folder may have been deleted: the next MKCOL for it must be sent.
            self._folders.forget()
        return failed

    def _remember(self, path: Segments, size: int, headers: Mapping[str, str], kept: Kept) -> None:
        self._memory.failed.pop(key(path))
        self._memory.sizes.pop(key(path))
        self._session.record.succeed(key(path))
        self._session.record.contradicted.pop(key(path), None)
        self._memory.etags.put(key(path), kept.etag)
        if kept.etag is None:
            return
        self._memory.own.put(key(path), kept.etag)
        # The engine checks each file that it has stored. If the server's answer described the
        # file, that check costs no request.
        given = headers.get("x-oc-mtime")
        if given is not None and not kept.keeps_time:
            return
        if self._dialect.hashes_files and kept.checksum is None:
            return  # the server's own hashes are worth one request for a large file
        modified = int(given) if given is not None and given.isdigit() else None
        checksum = kept.checksum or headers.get("oc-checksum")
        stored = Stored(size, modified, checksum, kept.etag, in_bulk=kept.in_bulk)
        self._memory.stored.put(key(path), stored)
