"""Upload files so that the old file survives every refused or cut-off upload.

Where PUT replaces a file atomically, one conditional PUT is enough. Elsewhere the bytes go to a
temporary name beside the file, and a MOVE replaces the file once all have arrived.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from efss_transfer.webdav import words
from efss_transfer.webdav.chunks import Chunks
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.folders import Folders
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Upload
from efss_transfer.webdav.http.server import EngineRequest, Streamed
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory, Stored, key
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession

SMALL: Final = 1 << 17
"""Largest body that is held in memory before it is sent, so that it can be sent again."""

PARTIAL: Final = re.compile(r"\.efss-transfer-([0-9a-f]{8})[0-9a-f]{8}\.part")
"""Names of incomplete uploads beside a file: their start time, then random digits."""

# Three times the stall limit of a transfer, and more than clocks differ.
_ABANDONED_SECONDS: Final = 900.0
_SKEW_SECONDS: Final = 300.0
_LONGEST_SECONDS: Final = 86_400.0
_PASSED: Final = ("content-type", "x-oc-mtime", "oc-checksum")
_AGAIN: Final = 503  # rclone then copies the file again
_NO_MOVE: Final = frozenset({400, 403, 405, 501, 502})


class Uploads:
    """Uploads to one server."""

    def __init__(
        self,
        session: ServerSession,
        listings: Listings,
        folders: Folders,
        memory: Memory,
        dialect: Dialect,
    ) -> None:
        self._session = session
        self._listings = listings
        self._folders = folders
        self._memory = memory
        self._dialect = dialect
        self._chunks = Chunks(session, listings)
        self._moves = True

    async def store(self, request: EngineRequest) -> int:
        """Store the body of a PUT; return the status for the engine. Raises as a call does."""
        path = request.path
        length = request.body.length
        upload: Upload = Streamed(request.body)
        if isinstance(length, int) and length <= SMALL:
            upload = Held(await request.whole(SMALL))
        headers = self._headers(request)
        if self._dialect.checksums and isinstance(upload, Held):
            # Otherwise rclone asks Nextcloud for a hash of each file after storing it.
            headers.setdefault("oc-checksum", f"SHA1:{upload.sha1}")
        self._folders.fills(path[:-1])
        self._memory.stored.pop(key(path))
        # Until the file is stored, a DELETE is rclone's own, after a failed upload.
        self._memory.failed.put(key(path), value=True)
        is_new = self._memory.is_absent(path)
        session = None
        if self._dialect.in_place and not is_new and not isinstance(upload, Held):
            session = self._chunks.session(secrets.token_hex(16))
        if session is not None:
            kept = await self._in_chunks(session, path, upload, headers)
        elif self._dialect.atomic:
            kept = await self._in_place(path, upload, headers)
        elif not self._moves or (is_new and isinstance(upload, Held)):
            kept = await self._directly(path, upload, headers, is_new=is_new)
        else:
            kept = await self._by_the_side(path, upload, headers, is_new=is_new)
        self._remember(path, request.body.count, headers, kept)
        if (given := request.header("x-oc-mtime")) is not None and "x-oc-mtime" not in headers:
            text = f"The server refuses the modification time {words.shown_time(given)}."
            self._session.record.warn("time_not_kept", key(path), text)
        return kept.status

    async def tidy(self, folder: Segments, left: list[tuple[str, Entry]]) -> None:
        """Remove abandoned uploads: those that were not written to for 15 minutes."""
        now = time.time()
        for name, entry in left:
            found = PARTIAL.fullmatch(name)
            begun = int(found[1], 16) if found else now
            try:
                text = entry.get("getlastmodified") or ""
                written = parsedate_to_datetime(text).timestamp()
            except ValueError:
                written = 0.0
            # A time before the upload began is the file's own, set once all bytes have arrived.
            quiet = written > begun - _SKEW_SECONDS and now - written > _ABANDONED_SECONDS
            if quiet or now - begun > _LONGEST_SECONDS:
                await self._remove((*folder, name))

    def _headers(self, request: EngineRequest) -> dict[str, str]:
        headers = {name: text for name in _PASSED if (text := request.header(name)) is not None}
        oldest, given = self._dialect.oldest, headers.get("x-oc-mtime")
        if (
            oldest is not None
            and given is not None
            and (not given.isdigit() or int(given) < oldest)
        ):
            # The server would refuse the whole file because of it, after every byte was sent.
            del headers["x-oc-mtime"]
        return headers

    async def _in_place(self, path: Segments, upload: Upload, headers: Mapping[str, str]) -> _Kept:
        """Send one PUT, conditional on the listed state of the file."""
        while True:
            condition = self._condition(path)
            call = Call("PUT", self._listings.target(path), {**headers, **condition}, upload)
            async with self._session.call(call, key(path)) as answer:
                if answer.status < 300:
                    return _Kept(answer)
                failed = await self._session.error(call, key(path), answer)
            if not condition or failed.status not in self._dialect.mismatch:
                raise self._explained(failed)
            if await self._looked(path) == condition:
                raise failed  # the condition holds, so the refusal has another cause
            if not upload.replayable:
                raise Failed(_AGAIN, failed.said)

    async def _in_chunks(
        self, session: str, path: Segments, upload: Upload, headers: Mapping[str, str]
    ) -> _Kept:
        """Send one chunk to a folder of its own; the server then replaces the file with it."""
        condition = self._condition(path).get("If-Match")
        try:
            await self._chunks.send(session, path, upload)
            answer = await self._chunks.assemble(session, path, headers, condition)
        except Failed as failed:
            await asyncio.shield(self._chunks.remove(session))
            if condition and failed.status in self._dialect.mismatch:
                await self._looked(path)
                raise Failed(_AGAIN, failed.said) from failed
            raise self._explained(failed) from failed
        except BaseException:
            await asyncio.shield(self._chunks.remove(session))
            raise
        return _Kept(answer)

    async def _directly(
        self, path: Segments, upload: Upload, headers: Mapping[str, str], *, is_new: bool
    ) -> _Kept:
        """Send one PUT to a server that may write in place.

        Used for a new file in memory, and where MOVE does not work.
        """
        condition = {"If-None-Match": "*"} if is_new else {}
        call = Call("PUT", self._listings.target(path), {**headers, **condition}, upload)
        try:
            async with self._session.call(call, key(path)) as answer:
                if answer.status < 300:
                    return _Kept(answer)
                failed = await self._session.error(call, key(path), answer)
        except NoAnswer:
            if is_new:
                await self._clear(path, upload.length)
            raise
        if condition and failed.status == 412:
            await self._looked(path)
            raise Failed(_AGAIN, failed.said)
        raise self._explained(failed)

    async def _by_the_side(
        self, path: Segments, upload: Upload, headers: Mapping[str, str], *, is_new: bool
    ) -> _Kept:
        """Send a PUT to a temporary name, then MOVE it to the file's name."""
        aside = (*path[:-1], f".efss-transfer-{int(time.time()):08x}{secrets.token_hex(4)}.part")
        call = Call("PUT", self._listings.target(aside), headers, upload)
        try:
            async with self._session.call(call, key(path)) as answer:
                if answer.status >= 300:
                    raise self._explained(await self._session.error(call, key(path), answer))
            await self._moved(aside, path, is_new=is_new)
        except BaseException:
            await asyncio.shield(self._remove(aside))
            raise
        return _Kept(None)

    async def _moved(self, aside: Segments, path: Segments, *, is_new: bool) -> None:
        destination = f"{self._session.upstream.origin}{self._listings.target(path)}"
        headers = {"Destination": destination, "Overwrite": "F" if is_new else "T"}
        call = Call("MOVE", self._listings.target(aside), headers)
        try:
            async with self._session.call(call, key(path)) as answer:
                if answer.status < 300:
                    return
                failed = await self._session.error(call, key(path), answer)
        except NoAnswer:
            # The MOVE may have succeeded: then the temporary name no longer exists.
            if await self._listings.one(aside, folder=False) is None:
                return
            raise
        if failed.status == 412:
            await self._looked(path)
        elif failed.status in _NO_MOVE:
            self._moves = False
            text = f"The server refused MOVE with {failed.status}."
            self._session.record.warn("no_atomic_replacement", key(path), text)
        else:
            raise failed
        raise Failed(_AGAIN, failed.said)

    def _condition(self, path: Segments) -> dict[str, str]:
        if self._memory.is_absent(path):
            return {"If-None-Match": "*"}
        etag = self._memory.etags.get(key(path))
        return {"If-Match": etag} if etag else {}

    async def _looked(self, path: Segments) -> dict[str, str]:
        """Request the file's current state and return the matching condition."""
        found = await self._listings.one(path, folder=False)
        if found is None:
            self._memory.etags.pop(key(path))
            return {"If-None-Match": "*"}
        etag = strong(found.entry.get("getetag"))
        self._memory.etags.put(key(path), etag)
        return {"If-Match": etag} if etag else {}

    def _explained(self, failed: Failed) -> Failed:
        if failed.status in (404, 409):
            # The folder may have been deleted: the next MKCOL for it must be sent.
            self._folders.forget()
        return failed

    async def _clear(self, path: Segments, length: int | None) -> None:
        """Delete a partial file that a broken upload left under a previously free name."""
        try:
            found = await self._listings.one(path, folder=False)
            etag = strong(found.entry.get("getetag")) if found else None
            if found is not None and found.size != length and etag:
                call = Call("DELETE", self._listings.target(path), {"If-Match": etag})
                async with self._session.call(call, key(path)):
                    pass
        except (Failed, Refused, NoAnswer):
            pass  # the next attempt detects it by its size

    async def _remove(self, aside: Segments) -> None:
        call = Call("DELETE", self._listings.target(aside))
        try:
            async with self._session.call(call, key(aside)):
                pass
        except (Failed, Refused, NoAnswer):
            self._session.record.warn("partial_left", key(aside), "The incomplete file remains.")

    def _remember(self, path: Segments, size: int, headers: Mapping[str, str], kept: _Kept) -> None:
        self._memory.failed.pop(key(path))
        self._memory.sizes.pop(key(path))
        self._session.record.succeed(key(path))
        self._memory.etags.put(key(path), kept.etag)
        if kept.etag is None:
            return
        # The engine checks each file that it has stored. If the server's answer described the
        # file, that check costs no request.
        given = headers.get("x-oc-mtime")
        if given is not None and not kept.time:
            return
        modified = int(given) if given is not None and given.isdigit() else None
        checksum = headers.get("oc-checksum")
        self._memory.stored.put(key(path), Stored(size, modified, checksum, kept.etag))


class _Kept:
    """File properties from the answer to an upload."""

    def __init__(self, answer: Answer | None) -> None:
        said = answer.head.headers if answer is not None else {}
        self.etag = strong(said.get("oc-etag") or said.get("etag"))
        self.time = said.get("x-oc-mtime", "").lower() == "accepted"
        self.status = answer.status if answer is not None else 201


def strong(etag: str | None) -> str | None:
    """Return an ETag that can be a condition of a PUT; None for a weak one."""
    return etag if etag and etag.startswith('"') else None
