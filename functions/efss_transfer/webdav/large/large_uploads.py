"""Send a large file in chunks, and resume where an earlier upload of it was cut off.

The gateway still reads from the engine what the server has already, and compares its SHA-1 with the
one in the names of the chunks. So an upload resumes only after the same bytes, whatever the source
says about its files. After a resumed upload the server is asked for the SHA-1 of the whole file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.large import marks
from efss_transfer.webdav.large.making import Making, anew
from efss_transfer.webdav.large.marks import Chunk, Key
from efss_transfer.webdav.large.means import Means, may_go_on
from efss_transfer.webdav.large.sessions import ChunkSession, Sessions
from efss_transfer.webdav.large.stretches import Stretch, Stretches
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed
from efss_transfer.webdav.writes.chunks import Chunks, NoChunks
from efss_transfer.webdav.writes.conditions import ABSENT
from efss_transfer.webdav.writes.kept import Kept
from efss_transfer.webdav.writes.names import PARTIAL

_MISMATCH: Final = 412
_NO_FOLDER: Final = frozenset({404, 409})
_ANEW: Final = frozenset({400, _MISMATCH, *_NO_FOLDER})
_CHANGED: Final = "The file is not the one of which parts were sent before"


class LargeUploads:
    """Uploads to one server in chunks."""

    def __init__(self, means: Means, chunks: Chunks) -> None:
        self._means = means
        self._session = means.session
        self._listings = means.listings
        self._chunks = chunks
        self._conditions = means.conditions
        self._clean_ups = means.clean_ups
        self._above = means.above
        self._sessions = Sessions(means.session, means.listings, chunks)
        self._making = Making(means.session, means.listings, chunks, self._sessions)

    async def store(self, path: Segments, body: Body, headers: Mapping[str, str]) -> Kept | None:
        """Store a body. None before anything was read if it must go the plain way.

        Raises as a call does.
        """
        size = body.length
        if not isinstance(size, int) or not size > self._above > 0 or not self._chunks.folder:
            return None
        if PARTIAL.fullmatch(path[-1]):
            return None  # no later transfer uses the name again
        known = self._conditions.known(path) or await self._conditions.looked(path)
        stretches = Stretches(body)
        file = Key.of(self._listings.target(path), size, headers)
        own = self._sessions.left(file)
        if own is not None and own.asked_at is not None and await self._sessions.is_gone(own):
            found = await self._making.found(own, path, headers) if own.key == file else None
            if found is not None:
                return await self._already_there(own, path, stretches, found)
            own = None
        try:
            is_new = known == ABSENT
            session = await self._sessions.begun(path, file, size, own, is_new=is_new)
            if session is None:
                return await self.store(path, body, headers)
        except NoChunks:
            self._above = 0
            return None
        try:
            kept = await self._stored(session, path, stretches, headers)
        except BaseException as error:
            ending = self._sessions.end(session, keep=may_go_on(error))
            await self._clean_ups.run(ending)
            if isinstance(error, Failed):
                raise await self._explained(path, error) from error
            raise
        await self._sessions.finish(session)
        return kept

    def release(self) -> None:
        """Leave what was cut off to later transfers, once all requests have ended."""
        self._clean_ups.start(self._sessions.release())

    async def _already_there(
        self, session: ChunkSession, path: Segments, stretches: Stretches, kept: Kept
    ) -> Kept:
        """Read a file that the server has made of its chunks after all."""
        await stretches.skip(session.size)
        if stretches.digest != session.chunks[-1].after:
            raise anew(self._session, path, _CHANGED)
        self._session.record.resumed_bytes += session.size
        return kept

    async def _stored(
        self,
        session: ChunkSession,
        path: Segments,
        stretches: Stretches,
        headers: Mapping[str, str],
    ) -> Kept:
        for at, chunk in enumerate(session.chunks):
            proven = await stretches.proven(chunk)
            if proven is None:
                raise anew(self._session, path, _CHANGED)
            session.chunks[at] = proven
        resumed = stretches.at
        await self._send(session, path, stretches)
        if not await self._sessions.is_whole(session):
            raise anew(self._session, path, "The server has other parts than were sent")
        if resumed:
            # Without rclone's checksum the server has to calculate its own.
            headers = {name: text for name, text in headers.items() if name != "oc-checksum"}
        kept = await self._making.make(session, path, headers, self._conditions.known(path))
        if resumed:
            found = await self._making.sha1(path)
            if found is not None and found != stretches.sha1:
                # Its size and time are those of the source: it would be taken for the file.
                await self._means.remove(path, kept.etag)
                raise anew(self._session, path, "The server made another file of the parts")
            if found is not None:
                kept.checksum = f"SHA1:{found}"
            self._session.record.resumed_bytes += resumed
        return kept

    async def _send(self, session: ChunkSession, path: Segments, stretches: Stretches) -> None:
        """Send the chunks that the server does not have."""
        to, size, by = self._listings.url(path), session.size, marks.writer()
        headers = {"OC-Total-Length": str(size)}
        if session.is_direct:
            headers["Destination"] = to
        most = await self._means.largest("chunked_upload", "max_size")
        rate: float | None = None
        while (left := size - stretches.at) > 0:
            number = len(session.chunks) + 1
            if number > marks.MOST_CHUNKS:
                raise anew(self._session, path, "The file has too many parts")
            length = marks.chunk_size(left, marks.MOST_CHUNKS - number + 1, most, rate)
            name = marks.chunk_name(number, stretches.digest, by)
            stretch = Stretch(stretches, length)
            call = Call("PUT", f"{session.folder}/{name}", headers, stretch)
            begun = time.monotonic()
            await self._session.succeed(call, key(path))
            if stretch.left:
                raise anew(self._session, path, "The server took a part before all of it arrived")
            rate = length / max(time.monotonic() - begun, 1e-3)
            session.chunks.append(Chunk(name, length, stretches.digest))
            if number == 1:
                await self._sessions.learn(session)

    async def _explained(self, path: Segments, failed: Failed) -> Failed:
        """Return the error of an upload; learn from it what the next one must know."""
        if failed.status in _NO_FOLDER:
            # The file's folder may have been deleted: the next MKCOL for it must be sent.
            self._means.forget_folders()
        if failed.status == _MISMATCH:
            await self._conditions.looked(path)
        if failed.status not in _ANEW:
            return failed
        return anew(self._session, path, f"The server refused the parts ({failed.said.message})")
