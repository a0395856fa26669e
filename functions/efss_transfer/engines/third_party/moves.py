"""Gives a file another name at a storage, and looks whether it has arrived there.

XRootD takes the Destination of a MOVE as it is, without decoding it: `a%20b` becomes a file of that
very name. So the first name that has to be encoded shows how a storage reads this header.
"""

from __future__ import annotations

from collections.abc import Mapping

from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments, encoded
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.words import Words

_LOST = (
    "The storage reports that it has moved the file to its name, but it is not there: look for it "
    "beside that name."
)


class Moves:
    """The MOVEs of one storage. Each raises Failed, Refused or NoAnswer."""

    def __init__(self, session: ServerSession, listings: Listings) -> None:
        self._session = session
        self._listings = listings
        self._reads_plainly: bool | None = None

    async def move(self, path: Segments, to: Segments, size: int, *, overwrite: bool) -> None:
        """Move a file of so many bytes to a name."""
        misplaced = tuple(encoded([name])[1:] for name in to)
        if misplaced == to or self._reads_plainly is not None:
            await self._send(path, to, overwrite=overwrite, plainly=bool(self._reads_plainly))
        else:
            await self._try(path, to, misplaced, overwrite=overwrite)
        if await self._size(to) != size:
            call = Call("MOVE", self._listings.target(to))
            raise self._session.failed(call, key(to), Words(None, "", _LOST), 502)

    async def _try(
        self, path: Segments, to: Segments, misplaced: Segments, *, overwrite: bool
    ) -> None:
        """Move a file to the first name that is written in another way in the header."""
        was_there = await self._size(misplaced) is not None
        try:
            await self._send(path, to, overwrite=overwrite, plainly=False)
        except Failed:
            # A folder of that very name does not exist.
            await self._send(path, to, overwrite=overwrite, plainly=True)
            self._reads_plainly = True
            return
        if was_there:
            return  # it shows nothing
        if await self._size(misplaced) is None:
            self._reads_plainly = False
            return
        await self._send(misplaced, to, overwrite=overwrite, plainly=True)
        self._reads_plainly = True

    async def _send(self, path: Segments, to: Segments, *, overwrite: bool, plainly: bool) -> None:
        destination = self._listings.url(to)
        if plainly:
            origin = destination.removesuffix(self._listings.target(to))
            base = self._listings.base.asked
            names = "".join(f"/{name}" for name in (*base, *to))
            # Headers are sent as Latin-1, so this is the name in UTF-8.
            destination = f"{origin}{names}".encode("utf-8", "surrogateescape").decode("latin-1")
        headers: Mapping[str, str] = {
            "Destination": destination,
            "Overwrite": "T" if overwrite else "F",
        }
        await self._session.succeed(Call("MOVE", self._listings.target(path), headers), key(to))

    async def _size(self, path: Segments) -> int | None:
        """The size of a file; None if there is none."""
        call = Call("HEAD", self._listings.target(path))
        async with self._session.call(call, key(path)) as answer:
            if answer.status == 404:
                return None
            if answer.status >= 300:
                raise await self._session.error(call, key(path), answer)
            length = answer.header("content-length") or ""
            return int(length) if length.isdigit() else -1
