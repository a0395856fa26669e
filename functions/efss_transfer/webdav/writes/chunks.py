"""Chunked uploads of Nextcloud and ownCloud.

A large file replaces another safely by them, and a body of unknown length can be sent.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Upload
from efss_transfer.webdav.listings import XML_TYPE, Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.multistatus import BadListing, Entry, Parser
from efss_transfer.webdav.paths import Segments, encoded, of_href, segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession

ABANDONED_SECONDS: Final = 900.0
"""Three times the stall limit of a transfer: after it nobody writes any more."""
SKEW_SECONDS: Final = 300.0
"""More than clocks differ."""
LONGEST_SECONDS: Final = 86_400.0
"""More than a transfer takes."""

_FILES: Final = ("dav", "files")
_SESSION: Final = re.compile(r"efss-transfer-([0-9a-f]{8})[0-9a-f]{24}")
_PUBLIC: Final = "public.php"
_WHOLE: Final = ".file"
_TIDY_SECONDS: Final = 10.0
_LONGEST: Final = 1 << 20
_TIMES: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop>'
    b"<d:getlastmodified/><d:resourcetype/></d:prop></d:propfind>"
)


class NoChunks(Exception):
    """A server without chunked uploads, as older releases are below a public link."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(str(failed))
        self.failed = failed


class Chunks:
    """Chunked uploads to one server. A session is the path of its folder."""

    def __init__(self, session: ServerSession, listings: Listings) -> None:
        self._session = session
        self._listings = listings
        home = segments(session.home)
        at = next((at for at in range(len(home) - 2) if home[at : at + 2] == _FILES), None)
        self._folder = None if at is None else encoded((*home[: at + 1], "uploads", home[at + 2]))
        self._is_link = _PUBLIC in home

    def session(self) -> str | None:
        """Build a new session's path; None if the URL does not reveal the location."""
        name = f"efss-transfer-{int(time.time()):08x}{secrets.token_hex(12)}"
        return None if self._folder is None else f"{self._folder}/{name}"

    async def tidy(self) -> None:
        """Remove sessions that killed gateways left: see `_is_abandoned`."""
        if self._folder is None:
            return
        with suppress(Failed, Refused, NoAnswer, BadListing, TimeoutError):
            async with asyncio.timeout(_TIDY_SECONDS):
                for name, _ in await self._listed(self._folder):
                    session = f"{self._folder}/{name}"
                    if await self._is_abandoned(name, session):
                        await self.remove(session)

    async def _is_abandoned(self, name: str, session: str) -> bool:
        """Return whether no gateway writes to a session any more.

        One that has chunks is abandoned if the last one arrived 20 minutes ago: a gateway waits
        for no answer that long. One that has none may still be receiving its only chunk, which
        no listing shows. It takes no space, and is left alone for a day.
        """
        found = _SESSION.fullmatch(name)
        age = time.time() - int(found[1], 16) if found else 0.0
        if age < ABANDONED_SECONDS + SKEW_SECONDS:
            return False
        chunks = [at for chunk, at in await self._listed(session) if chunk != _WHOLE]
        quiet = time.time() - max(chunks, default=0.0)
        return quiet > ABANDONED_SECONDS + SKEW_SECONDS if chunks else age > LONGEST_SECONDS

    async def _listed(self, folder: str) -> list[tuple[str, float]]:
        """List the names in a folder with their times. Raises as a call does, and BadListing."""
        headers = {"Depth": "1", "Content-Type": XML_TYPE}
        call = Call("PROPFIND", f"{folder}/", headers, Held(_TIMES))
        parser = Parser()
        async with self._session.call(call, folder) as answer:
            if answer.status != 207:
                return []
            entries = [*parser.feed(await answer.text(_LONGEST)), *parser.close()]
        above = segments(folder)
        found = [(of_href(entry.href), entry) for entry in entries]
        return [(path[-1], _time(entry)) for path, entry in found if len(path) == len(above) + 1]

    async def send(self, session: str, path: Segments, upload: Upload) -> int | None:
        """Open a session and send the whole file as its only chunk; return its size.

        Raises Failed, and NoChunks before anything is read of the file.
        """
        headers = {"Destination": self._listings.url(path)}
        await self._open(session, path, headers)
        if upload.length is not None:
            headers["OC-Total-Length"] = str(upload.length)
        await self._session.succeed(Call("PUT", f"{session}/00001", headers, upload), key(path))
        return upload.length

    async def send_pieces(
        self, session: str, path: Segments, piece: Held | None, more: AsyncGenerator[Held, None]
    ) -> int:
        """Open a session and send a file as many chunks; return its size.

        Raises Failed and NoChunks.
        """
        # With a Destination, chunks may become parts in an object store, which have a least size.
        await self._open(session, path, {})
        size = number = 0
        while piece is not None:
            number += 1
            size += piece.length or 0
            call = Call("PUT", f"{session}/{number:08d}", {}, piece)
            await self._session.succeed(call, key(path))
            piece = await anext(more, None)
        return size

    async def _open(self, session: str, path: Segments, headers: Mapping[str, str]) -> None:
        call = Call("MKCOL", session, headers)
        async with self._session.call(call, key(path)) as answer:
            # No other upload has this name: an earlier request, whose answer was lost, made it.
            if answer.status < 300 or answer.status == 405:
                return
            failed = await self._session.error(call, key(path), answer)
        if not self._is_link:
            raise failed
        self._folder = None
        raise NoChunks(failed)

    async def assemble(
        self,
        session: str,
        path: Segments,
        size: int | None,
        headers: Mapping[str, str],
        condition: Mapping[str, str],
    ) -> Answer:
        """Replace the file with the chunks if it meets the condition of a PUT.

        Returns the answer, whose body has been read. Raises Failed.
        """
        destination = self._listings.url(path)
        overwrite = "F" if "If-None-Match" in condition else "T"
        headers = {**headers, "Destination": destination, "Overwrite": overwrite}
        if (etag := condition.get("If-Match")) is not None:
            # If-Match would apply to the chunk.
            headers["If"] = f"<{destination}> ([{etag}])"
        if size is not None:
            headers["OC-Total-Length"] = str(size)
        return await self._session.succeed(Call("MOVE", f"{session}/{_WHOLE}", headers), key(path))

    async def remove(self, session: str) -> None:
        """Delete the remains of a session, if possible."""
        try:
            async with self._session.call(Call("DELETE", session), session):
                pass
        except (Failed, Refused, NoAnswer):
            self._session.record.warn("partial_left", session, "The upload folder remains.")


def _time(entry: Entry) -> float:
    """Return when something was written; now if that is unknown."""
    try:
        return parsedate_to_datetime(entry.get("getlastmodified") or "").timestamp()
    except ValueError:
        return time.time()
