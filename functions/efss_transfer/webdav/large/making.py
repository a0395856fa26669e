"""Have the server make a file of its chunks, and find out whether it did.

That takes a slow server minutes, and a proxy between may give up first. So an answer that does not
come, or is a proxy's, says nothing: the server is asked for the session and the file until one of
both is certain. It is not told twice while it may be at work, because two at once would cut off
the file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.large.sessions import ChunkSession, Sessions
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key, strong
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.words import Words
from efss_transfer.webdav.writes.chunks import Chunks
from efss_transfer.webdav.writes.kept import Kept

_UNCERTAIN: Final = frozenset({502, 504})
_PROCESSING: Final = 425
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_HASH_SECONDS: Final = 30.0
_AGAIN: Final = 503


class Anew(Failed):
    """Upload that cannot go on: it must be sent again from its start, in another session."""


def anew(session: ServerSession, path: Segments, reason: str) -> Anew:
    """Record that an upload must be sent again, and return the error."""
    said = Words(_AGAIN, "", f"{reason}, so the file must be sent again.")
    session.failed(Call("PUT", key(path)), key(path), said)
    return Anew(_AGAIN, said)


class Making:
    """Files that one server makes of chunks."""

    def __init__(
        self, session: ServerSession, listings: Listings, chunks: Chunks, sessions: Sessions
    ) -> None:
        self._session = session
        self._listings = listings
        self._chunks = chunks
        self._sessions = sessions

    async def make(
        self,
        session: ChunkSession,
        path: Segments,
        headers: Mapping[str, str],
        condition: Mapping[str, str],
    ) -> Kept:
        """Make the file if the old one meets the condition of a PUT. Raises Failed, and Anew."""
        if self._sessions.may_be_made(session):
            return await self._made(session, path, headers, self._unanswered(path))
        session.replaced = condition.get("If-Match")
        session.asked_at = time.monotonic()
        try:
            answer = await self._chunks.assemble(
                session.folder, path, session.size, headers, condition, once=True
            )
        except Failed as failed:
            if failed.said.status in _UNCERTAIN and not failed.said.exception:
                return await self._made(session, path, headers, failed)
            session.asked_at = None
            raise
        except NoAnswer as error:
            return await self._made(session, path, headers, error)
        session.asked_at = None
        return Kept.of(answer)

    async def found(
        self, session: ChunkSession, path: Segments, headers: Mapping[str, str]
    ) -> Kept | None:
        """Return the file that the server has made of a session that is gone; None if it is
        another one.
        """
        there = await self._listings.one(path, folder=False)
        if there is None or there.size != session.size:
            return None
        etag = strong(there.entry.get("getetag"))
        if etag is None or etag == session.replaced:
            return None
        given = headers.get("x-oc-mtime", "")
        told = there.entry.get("getlastmodified")
        keeps_time = given.isdigit() and told == formatdate(int(given), usegmt=True)
        if given.isdigit() and not keeps_time:
            return None
        return Kept(etag, keeps_time=keeps_time)

    async def sha1(self, path: Segments) -> str | None:
        """Have the server read a file, and return its SHA-1; None if it does not tell it."""
        headers = {"X-Recalculate-Hash": "sha1"}
        call = Call("PATCH", self._listings.target(path), headers, Held(b""))
        try:
            async with asyncio.timeout(_HASH_SECONDS):
                answer = await self._session.succeed(call, key(path))
        except (Failed, Refused, NoAnswer, TimeoutError):
            self._session.record.succeed(key(path))
            return None
        kind, _, value = (answer.header("oc-checksum") or "").partition(":")
        return value.lower() if kind.upper() == "SHA1" else None

    async def _made(
        self, session: ChunkSession, path: Segments, headers: Mapping[str, str], error: Exception
    ) -> Kept:
        """Wait until the file is there. Raises the error if that stays uncertain, and Anew."""
        until = self._session.patient_until
        pause = _FIRST_PAUSE
        while not await self._sessions.is_gone(session):
            if time.monotonic() + pause > until:
                raise error
            with self._session.record.waits.during(_PROCESSING, key(path), pause):
                await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        kept = await self.found(session, path, headers)
        if kept is None:
            raise anew(self._session, path, "The server lost the parts of the file")
        self._session.record.succeed(key(path))
        return kept

    def _unanswered(self, path: Segments) -> Failed:
        said = Words(504, "", "The server has not finished making the file of its parts.")
        return self._session.failed(Call("MOVE", key(path)), key(path), said)
