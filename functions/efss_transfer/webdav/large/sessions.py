"""Sessions of large uploads: begin one, or resume one that was cut off.

A gateway keeps the sessions that its own uploads left, and resumes them at once. It takes over
another gateway's session only if that gateway has released it, or has written nothing to it for
longer than a transfer waits for anything.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.large import marks
from efss_transfer.webdav.large.marks import Chunk, Key, Listed
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key as text_of
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.reading.bad_listings import BadListing
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.writes.chunks import Chunks, NoChunks

_SLOWEST_COPY: Final = 20 << 20
"""Bytes a second at which even a slow server makes a file of its chunks."""
_NO_SESSIONS: Final = frozenset({403, 404, 405, 409, 501})
_UNKNOWN: Final = (Failed, Refused, NoAnswer, BadListing)


@dataclass(eq=False)
class ChunkSession:
    """Session of a large upload, whose folder is at the path `folder`.

    `asked_at` is when the server was asked to make a file of the chunks and did not answer, a time
    of `time.monotonic()`; `replaced` is the ETag of the file before, None if there was none.
    """

    folder: str
    key: Key
    size: int
    chunks: list[Chunk] = field(default_factory=list)
    asked_at: float | None = None
    replaced: str | None = None
    is_direct: bool = False
    """Whether the server knows the destination, so that it may send chunks to an object store.

    Then they are no files, and it counts them to the size of the file that they replace, which
    cannot be read until the upload is complete. So a session is direct only for a new file.
    """
    has_parts: bool | None = False
    """Whether an object store keeps its chunks; None if that is not known."""
    has_others: bool = False
    """Whether there are other sessions for the file, of which some may be of no more use."""


class Sessions:
    """Sessions at one server."""

    def __init__(self, session: ServerSession, listings: Listings, chunks: Chunks) -> None:
        self._session = session
        self._listings = listings
        self._chunks = chunks
        self._in_use: set[str] = set()
        # What uploads of this gateway left, by the path in their keys.
        self._left: dict[str, ChunkSession] = {}

    def left(self, key: Key) -> ChunkSession | None:
        """Take the session that an earlier upload of a file left."""
        return self._left.pop(key.path, None)

    async def begun(
        self, path: Segments, key: Key, size: int, own: ChunkSession | None, *, is_new: bool
    ) -> ChunkSession | None:
        """Return a session with the chunks that it has: `own`, another's, or a new one.

        `is_new` says that the file replaces no other. None if `own`, of which the server was asked
        to make the file, has just gone. Raises Failed, and NoChunks if the server refuses to open
        a session.
        """
        found: ChunkSession | None = None
        if own is not None:
            try:
                if own.key == key:
                    known = {one.name: one for one in own.chunks}
                    found = await self._usable(own, known, is_new=is_new)
            except (Failed, Refused, NoAnswer):
                self._left[key.path] = own
                raise
            if found is None and own.asked_at is not None and await self.is_gone(own):
                self._left[key.path] = own
                return None
            if found is None and not self.may_be_made(own):
                await self._chunks.remove(own.folder)
        if found is None:
            others = await self._named(key)
            found = await self._anothers(key, size, others, is_new=is_new)
            if found is None:
                found = await self._opened(path, key, size, is_new=is_new)
            found.has_others = bool(others)
        self._in_use.add(found.folder)
        return found

    async def end(self, session: ChunkSession, *, keep: bool) -> None:
        """End the use of a session after a failure; `keep` it for later if it has chunks."""
        self._in_use.discard(session.folder)
        if keep and session.chunks:
            self._left[session.key.path] = session
        else:
            await self._chunks.remove(session.folder)

    async def finish(self, session: ChunkSession) -> None:
        """End the use of a session after a success: others for the same file have no more use."""
        self._in_use.discard(session.folder)
        if not session.has_others:
            return
        with suppress(*_UNKNOWN):
            for name in await self._named(session.key):
                folder = f"{self._chunks.folder}/{name}"
                listing = await self._chunks.listed(folder)
                if listing.files and self._is_free(listing.files, listing.now, session.size):
                    await self._chunks.remove(folder)

    async def release(self) -> None:
        """Leave the sessions to others, at the end of a transfer."""
        for session in self._left.values():
            last = session.chunks[-1]
            if session.asked_at is not None or last.after is None:
                continue
            if last.name.endswith(last.after):
                continue
            if session.has_parts:
                with suppress(*_UNKNOWN):
                    await self._mark_as_released(session)
                continue
            to = f"{session.folder}/{marks.released_name(last.name, last.after)}"
            headers = {"Destination": f"{self._session.upstream.origin}{to}", "Overwrite": "F"}
            call = Call("MOVE", f"{session.folder}/{last.name}", headers)
            with suppress(*_UNKNOWN):
                async with self._session.call(call, session.folder):
                    pass

    async def _mark_as_released(self, session: ChunkSession) -> None:
        """Leave an empty file in a session of parts, which cannot be renamed."""
        call = Call("PUT", f"{session.folder}/{marks.RELEASED}", {}, Held(b""))
        async with self._session.call(call, session.folder):
            pass

    async def learn(self, session: ChunkSession) -> None:
        """Learn from the first chunk of a session whether an object store keeps it."""
        if session.has_parts is None:
            with suppress(*_UNKNOWN):
                listing = await self._chunks.listed(session.folder)
                session.has_parts = marks.are_parts(listing.files)

    async def is_whole(self, session: ChunkSession) -> bool:
        """Return whether a session in an object store has what was sent, and nothing else.

        Nextcloud does not compare the total size of the parts with the `OC-Total-Length` of the
        upload. Raises as a call does.
        """
        if session.has_parts is False:
            return True
        try:
            listing = await self._chunks.listed(session.folder)
        except BadListing:
            return False
        return not marks.are_parts(listing.files) or marks.are_those(listing.files, session.chunks)

    async def is_gone(self, session: ChunkSession) -> bool:
        """Return whether the server has no more of a session. False if it does not tell."""
        with suppress(*_UNKNOWN):
            return (await self._chunks.listed(session.folder)).is_gone
        return False

    def may_be_made(self, session: ChunkSession) -> bool:
        """Return whether the server may still be making a file of the chunks."""
        if session.asked_at is None:
            return False
        return time.monotonic() - session.asked_at < self._silence(session.size)

    def _silence(self, size: int) -> float:
        return self._session.upstream.stall_seconds + size / _SLOWEST_COPY

    async def _named(self, key: Key) -> list[str]:
        """Return the names of sessions for a file that this gateway does not use."""
        folder = self._chunks.folder
        try:
            names = [one.name for one in (await self._chunks.listed(folder or "")).files]
        except _UNKNOWN:
            self._session.record.succeed(folder or "")
            return []
        ours = {*self._in_use, *(one.folder for one in self._left.values())}
        known = ((name, marks.key_of(name)) for name in names)
        return [
            name
            for name, found in known
            if found is not None and found.path == key.path and f"{folder}/{name}" not in ours
        ]

    async def _anothers(
        self, key: Key, size: int, names: list[str], *, is_new: bool
    ) -> ChunkSession | None:
        """Take over the session of another gateway that has most of the file."""
        best: list[Listed] = []
        name_of_best = ""
        for name in names:
            if marks.key_of(name) != key:
                continue
            try:
                listing = await self._chunks.listed(f"{self._chunks.folder}/{name}")
            except _UNKNOWN:
                continue
            is_better = sum(one.size for one in listing.files) > sum(one.size for one in best)
            if is_better and self._is_free(listing.files, listing.now, size):
                best, name_of_best = listing.files, name
        if not best:
            return None
        found = ChunkSession(f"{self._chunks.folder}/{name_of_best}", key, size)
        with suppress(Failed, Refused, NoAnswer):
            return await self._usable(found, {}, is_new=is_new)
        self._session.record.succeed(found.folder)
        return None

    def _is_free(self, files: list[Listed], now: float, size: int) -> bool:
        """Return whether nobody writes to a session, or makes a file of it."""
        if marks.is_released(files):
            return True
        is_whole = sum(one.size for one in files) >= size
        silence = self._silence(size) if is_whole else self._session.upstream.stall_seconds
        return now - max((one.written for one in files), default=now) > silence

    async def _usable(
        self, session: ChunkSession, known: dict[str, Chunk], *, is_new: bool
    ) -> ChunkSession | None:
        """Keep the chunks of a session whose bytes are certain, and remove the others.

        Returns None if no upload can continue this session. Raises as `ServerSession.call` does.
        """
        try:
            listing = await self._chunks.listed(session.folder)
        except BadListing:
            return None
        found = marks.certain(listing.files, known)
        if found is None or not found[0]:
            return None
        session.chunks, rest = found
        session.has_parts = marks.are_parts(listing.files)
        if session.has_parts:
            session.is_direct = True
            if not is_new:  # the server would look for the parts in the file that came meanwhile
                return None
        if sum(one.size for one in session.chunks) > session.size:
            return None
        for name in rest:
            call = Call("DELETE", f"{session.folder}/{name}")
            async with self._session.call(call, session.folder) as answer:
                if answer.status >= 300 and answer.status != 404:
                    return None
        return session

    async def _opened(self, path: Segments, key: Key, size: int, *, is_new: bool) -> ChunkSession:
        session = ChunkSession(f"{self._chunks.folder}/{key.session()}", key, size)
        session.is_direct = is_new
        session.has_parts = None if is_new else False
        headers = {"Destination": self._listings.url(path)} if is_new else {}
        try:
            await self._chunks.open(session.folder, path, headers)
        except Failed as failed:
            if failed.status in _NO_SESSIONS:
                self._session.record.succeed(text_of(path))
                raise NoChunks(failed) from failed
            raise
        return session
