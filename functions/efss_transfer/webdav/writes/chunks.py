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
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Upload
from efss_transfer.webdav.large import marks
from efss_transfer.webdav.listings import XML_TYPE, Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.multistatus import Entry, Parser
from efss_transfer.webdav.paths import Segments, encoded, of_href, segments
from efss_transfer.webdav.reading.bad_listings import BadListing
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
_LONGEST: Final = 1 << 23
_TIMES: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop>'
    b"<d:getlastmodified/><d:getcontentlength/><d:getetag/><d:resourcetype/></d:prop></d:propfind>"
)


@dataclass(frozen=True)
class Listing:
    """Content of a folder below `uploads`, and the server's time in seconds since 1970."""

    files: list[marks.Listed]
    now: float
    is_gone: bool = False
    """Whether the server has no such folder."""


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
        self.folder = None if at is None else encoded((*home[: at + 1], "uploads", home[at + 2]))
        """Path of the folder of all sessions; None if the URL does not reveal it."""
        self._is_link = _PUBLIC in home

    def session(self) -> str | None:
        """Build a new session's path; None if the URL does not reveal the location."""
        name = f"efss-transfer-{int(time.time()):08x}{secrets.token_hex(12)}"
        return None if self.folder is None else f"{self.folder}/{name}"

    async def tidy(self) -> None:
        """Remove sessions that killed gateways left: see `_is_abandoned`."""
        if self.folder is None:
            return
        with suppress(Failed, Refused, NoAnswer, BadListing, TimeoutError):
            async with asyncio.timeout(_TIDY_SECONDS):
                for one in (await self.listed(self.folder)).files:
                    session = f"{self.folder}/{one.name}"
                    if await self._is_abandoned(one.name, session):
                        await self.remove(session)

    async def _is_abandoned(self, name: str, session: str) -> bool:
        """Return whether no gateway writes to a session any more.

        One that has chunks is abandoned if the last one arrived 20 minutes ago: a gateway waits
        for no answer that long. One that has none may still be receiving its only chunk, which
        no listing shows. It takes no space, and is left alone for a day. So is one of a large
        upload, which a later transfer may go on with.
        """
        large = marks.begun_at(name)
        found = _SESSION.fullmatch(name)
        begun = large if large is not None else int(found[1], 16) if found else None
        age = 0.0 if begun is None else time.time() - begun
        if age < ABANDONED_SECONDS + SKEW_SECONDS:
            return False
        chunks = [one.written for one in (await self.listed(session)).files]
        quiet = time.time() - max(chunks, default=0.0)
        kept = ABANDONED_SECONDS + SKEW_SECONDS if large is None else LONGEST_SECONDS
        return quiet > kept if chunks else age > LONGEST_SECONDS

    async def listed(self, folder: str) -> Listing:
        """List a folder's files and folders, but for those that begin with a dot.

        Raises as a call does, and BadListing.
        """
        headers = {"Depth": "1", "Content-Type": XML_TYPE}
        call = Call("PROPFIND", f"{folder}/", headers, Held(_TIMES))
        parser = Parser()
        async with self._session.call(call, folder) as answer:
            now = _seconds(answer.header("date"))
            if answer.status != 207:
                return Listing([], now, is_gone=answer.status == 404)
            entries = [*parser.feed(await answer.text(_LONGEST)), *parser.close()]
        above = segments(folder)
        found = [(of_href(entry.href), entry) for entry in entries]
        files = [
            marks.Listed(
                path[-1],
                _size(entry),
                _seconds(entry.get("getlastmodified")),
                (entry.get("getetag") or "").strip('"'),
            )
            for path, entry in found
            if len(path) == len(above) + 1 and not path[-1].startswith(".")
        ]
        return Listing(files, now)

    async def send(self, session: str, path: Segments, upload: Upload) -> int | None:
        """Open a session and send the whole file as its only chunk; return its size.

        Raises Failed, and NoChunks before anything is read of the file.
        """
        # With a Destination, an object store would make the file that is replaced unreadable.
        await self.open(session, path, {})
        headers = {} if upload.length is None else {"OC-Total-Length": str(upload.length)}
        await self._session.succeed(Call("PUT", f"{session}/00001", headers, upload), key(path))
        return upload.length

    async def send_pieces(
        self, session: str, path: Segments, piece: Held | None, more: AsyncGenerator[Held, None]
    ) -> int:
        """Open a session and send a file as many chunks; return its size.

        Raises Failed and NoChunks.
        """
        # With a Destination, chunks may become parts in an object store, which have a least size.
        await self.open(session, path, {})
        size = number = 0
        while piece is not None:
            number += 1
            size += piece.length or 0
            call = Call("PUT", f"{session}/{number:08d}", {}, piece)
            await self._session.succeed(call, key(path))
            piece = await anext(more, None)
        return size

    async def open(self, session: str, path: Segments, headers: Mapping[str, str]) -> None:
        """Make a session's folder. Raises Failed, and NoChunks below a public link."""
        call = Call("MKCOL", session, headers)
        async with self._session.call(call, key(path)) as answer:
            # No other upload has this name: an earlier request, whose answer was lost, made it.
            if answer.status < 300 or answer.status == 405:
                return
            failed = await self._session.error(call, key(path), answer)
        if not self._is_link:
            raise failed
        self.folder = None
        raise NoChunks(failed)

    async def assemble(
        self,
        session: str,
        path: Segments,
        size: int | None,
        headers: Mapping[str, str],
        condition: Mapping[str, str],
        *,
        once: bool = False,
    ) -> Answer:
        """Replace the file with the chunks if it meets the condition of a PUT.

        Returns the answer, whose body has been read. Raises as a call does, which is sent `once`.
        """
        destination = self._listings.url(path)
        overwrite = "F" if "If-None-Match" in condition else "T"
        headers = {**headers, "Destination": destination, "Overwrite": overwrite}
        if (etag := condition.get("If-Match")) is not None:
            # If-Match would apply to the chunk.
            headers["If"] = f"<{destination}> ([{etag}])"
        if size is not None:
            headers["OC-Total-Length"] = str(size)
        call = Call("MOVE", f"{session}/{_WHOLE}", headers, once=once)
        return await self._session.succeed(call, key(path))

    async def remove(self, session: str) -> None:
        """Delete the remains of a session, if possible.

        Those of a large upload may be parts in an object store, which the server deletes only
        with the file that they would make, and if it has a Destination.
        """
        calls = [Call("DELETE", session)]
        if marks.begun_at(session.rpartition("/")[2]) is not None:
            to = f"{self._session.upstream.origin}{session}"
            calls.insert(0, Call("DELETE", f"{session}/{_WHOLE}", {"Destination": to}))
        try:
            for call in calls:
                async with self._session.call(call, session) as answer:
                    if answer.status < 300 or answer.status == 404:
                        return
        except (Failed, Refused, NoAnswer):
            self._session.record.warn("partial_left", session, "The upload folder remains.")


def _seconds(text: str | None) -> float:
    """Return a time of HTTP in seconds since 1970; now if it is unknown."""
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except ValueError:
        return time.time()


def _size(entry: Entry) -> int:
    size = entry.length
    return size if isinstance(size, int) else 0
