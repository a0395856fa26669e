"""Chunked uploads of Nextcloud and ownCloud.

A large file replaces another safely by them, and a body of unknown length can be sent.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Upload
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments, encoded, segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession

_FILES: Final = ("dav", "files")


class Chunks:
    """Chunked uploads to one server. A session is the path of its folder."""

    def __init__(self, session: ServerSession, listings: Listings) -> None:
        self._session = session
        self._listings = listings

    def session(self) -> str | None:
        """Build a new session's path; None if the URL does not reveal the location."""
        home = segments(self._session.home)
        name = f"efss-transfer-{secrets.token_hex(16)}"
        for at in range(len(home) - 2):
            if home[at : at + 2] == _FILES:
                return encoded((*home[: at + 1], "uploads", home[at + 2], name))
        return None

    async def send(self, session: str, path: Segments, upload: Upload) -> int | None:
        """Open a session and send the whole file as its only chunk; return its size.

        Raises Failed.
        """
        headers = {"Destination": self._destination(path)}
        await self._done(Call("MKCOL", session, headers), path)
        if upload.length is not None:
            headers["OC-Total-Length"] = str(upload.length)
        await self._done(Call("PUT", f"{session}/00001", headers, upload), path)
        return upload.length

    async def send_pieces(
        self, session: str, path: Segments, piece: Held | None, more: AsyncGenerator[Held, None]
    ) -> int:
        """Open a session and send a file as many chunks; return its size. Raises Failed."""
        # With a Destination, chunks may become parts in an object store, which have a least size.
        await self._done(Call("MKCOL", session), path)
        size = number = 0
        while piece is not None:
            number += 1
            size += piece.length or 0
            await self._done(Call("PUT", f"{session}/{number:08d}", {}, piece), path)
            piece = await anext(more, None)
        return size

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
        destination = self._destination(path)
        overwrite = "F" if "If-None-Match" in condition else "T"
        headers = {**headers, "Destination": destination, "Overwrite": overwrite}
        if (etag := condition.get("If-Match")) is not None:
            # If-Match would apply to the chunk.
            headers["If"] = f"<{destination}> ([{etag}])"
        if size is not None:
            headers["OC-Total-Length"] = str(size)
        return await self._done(Call("MOVE", f"{session}/.file", headers), path)

    async def remove(self, session: str) -> None:
        """Delete the remains of a session, if possible."""
        try:
            async with self._session.call(Call("DELETE", session), session):
                pass
        except (Failed, Refused, NoAnswer):
            self._session.record.warn("partial_left", session, "The upload folder remains.")

    def _destination(self, path: Segments) -> str:
        return f"{self._session.upstream.origin}{self._listings.target(path)}"

    async def _done(self, call: Call, path: Segments) -> Answer:
        async with self._session.call(call, key(path)) as answer:
            if answer.status >= 300:
                raise await self._session.error(call, key(path), answer)
            return answer
