"""Gives a file another name at a storage, and looks whether it has arrived there.

XRootD takes the Destination of a MOVE as it is, without decoding it: `a%20b` becomes a file of that
very name, and replaces one that the user has. So before the first name that has to be encoded, a
name that no other file has shows how a storage reads this header.
"""

from __future__ import annotations

from collections.abc import Mapping

from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments, encoded
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.words import Words
from efss_transfer.webdav.writes.names import partial_name

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
        needs_encoding = encoded(to) != f"/{key(to)}"
        if needs_encoding and self._reads_plainly is None:
            await self._try(path)
        plainly = needs_encoding and bool(self._reads_plainly)
        await self._send(path, self._written(to, plainly=plainly), overwrite=overwrite)
        if await self._size(to) != size:
            raise self._lost(to)

    async def _try(self, path: Segments) -> None:
        """Move a file to a name beside its own that is written in an unusual way, and back."""
        folder, name = path[:-1], partial_name()
        unusual = f"%2E{name.removeprefix('.')}"
        for is_plain in (False, True):
            header = f"{self._written(folder, plainly=is_plain)}/{unusual}"
            misplaced = folder if is_plain else tuple(encoded([it])[1:] for it in folder)
            try:
                await self._send(path, header, overwrite=False)
            except Failed:
                if is_plain:
                    raise
                continue  # perhaps there is no folder whose name is the encoded one
            for found, reads_plainly in (((*folder, name), False), ((*misplaced, unusual), True)):
                if await self._size(found) is not None:
                    back = self._written(path, plainly=reads_plainly)
                    await self._send(found, back, overwrite=False)
                    self._reads_plainly = reads_plainly
                    return
            raise self._lost((*folder, name))

    def _written(self, path: Segments, *, plainly: bool) -> str:
        """A path as a Destination; `plainly` without encoding it."""
        url = self._listings.url(path)
        if not plainly:
            return url
        origin = url.removesuffix(self._listings.target(path))
        names = "".join(f"/{name}" for name in (*self._listings.base.asked, *path))
        # Headers are sent as Latin-1, so this is the name in UTF-8.
        return f"{origin}{names}".encode("utf-8", "surrogateescape").decode("latin-1")

    async def _send(self, path: Segments, destination: str, *, overwrite: bool) -> None:
        headers: Mapping[str, str] = {
            "Destination": destination,
            "Overwrite": "T" if overwrite else "F",
        }
        await self._session.succeed(Call("MOVE", self._listings.target(path), headers), key(path))

    def _lost(self, to: Segments) -> Failed:
        call = Call("MOVE", self._listings.target(to))
        return self._session.failed(call, key(to), Words(None, "", _LOST), 502)

    async def _size(self, path: Segments) -> int | None:
        """The size of a file; None if there is none, -1 if the storage tells none."""
        if "%" not in key(path):
            found = await self._listings.one(path, folder=False)
            if found is None:
                return None
            return -1 if found.size is None or found.entry.collection else found.size
        # XRootD does not encode this sign in a listing, so that it stands for another name.
        call = Call("HEAD", self._listings.target(path), {"Connection": "close"})
        async with self._session.call(call, key(path)) as answer:
            if answer.status == 404:
                return None
            if answer.status >= 300:
                raise await self._session.error(call, key(path), answer)
            length = answer.header("content-length") or ""
            return int(length) if length.isdigit() else -1
