"""Nextcloud's chunked uploads, version 2: a large file replaces another safely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Upload
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

    def session(self, name: str) -> str | None:
        """Build a session's path from its name; None if the URL does not reveal the location."""
        home = segments(self._session.home)
        for at in range(len(home) - 2):
            if home[at : at + 2] == _FILES:
                return encoded((*home[: at + 1], "uploads", home[at + 2], f"efss-transfer-{name}"))
        return None

    async def send(self, session: str, path: Segments, upload: Upload) -> None:
        """Open a session and send the whole file as its only chunk. Raises Failed."""
        headers = {"Destination": self._destination(path)}
        await self._done(Call("MKCOL", session, headers), path)
        if upload.length is not None:
            headers["OC-Total-Length"] = str(upload.length)
        await self._done(Call("PUT", f"{session}/00001", headers, upload), path)

    async def assemble(
        self, session: str, path: Segments, headers: Mapping[str, str], etag: str | None
    ) -> Answer:
        """Replace the file with the chunk if the file still has the ETag.

        Returns the answer, whose body has been read. Raises Failed.
        """
        destination = self._destination(path)
        headers = {**headers, "Destination": destination, "Overwrite": "T"}
        if etag is not None:
            # If-Match would apply to the chunk.
            headers["If"] = f"<{destination}> ([{etag}])"
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
