"""Notice a server that answers Depth: 1 as Depth: 0, because a proxy before it strips the header.

Each of its folders looks empty. Once a folder was listed with entries, the header is honoured.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.listings import XML_TYPE, Listings, Named
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.multistatus import OWNCLOUD, Entry, Parser
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.reading.bad_listings import BadListing
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.words import Words

_UNSUPPORTED: Final = 501
_SIZE_BODY: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:" '
    b'xmlns:oc="http://owncloud.org/ns"><d:prop><oc:size/></d:prop></d:propfind>'
)
_IGNORED: Final = (
    "the server lists no entries of this folder, nor those of the folder around it, as if it were "
    "asked with Depth: 0; check whether a proxy removes the header Depth"
)
_LONGEST_ANSWER: Final = 1 << 16


class DepthCheck:
    """Knows of one server whether it lists entries."""

    def __init__(self, session: ServerSession, listings: Listings) -> None:
        self._session = session
        self.listings = listings
        self._is_honoured = False

    def saw(self, entries: Iterable[Named]) -> None:
        """Take entries of a listing."""
        self._is_honoured = self._is_honoured or any(one.name is not None for one in entries)

    async def confirm_empty(self, path: Segments) -> None:
        """Look around a folder that was listed without entries. Raises Failed if the header is
        ignored, and warns if the folder has a size. Raises as `ServerSession.call` does.
        """
        if self._is_honoured:
            return
        lists_itself = await self._has_entries(path[:-1]) if path else None
        if lists_itself is False:
            call = Call("PROPFIND", self.listings.target(path, folder=True))
            said = Words(207, "", f"PROPFIND {self.listings.url(path)}: {_IGNORED}")
            raise self._session.failed(call, key(path), said, _UNSUPPORTED)
        if lists_itself is None and (size := await self._size(path)):
            # A warning and no failure: sizes of folders lag behind, and some stay wrong.
            text = f"The server says that this folder has {size} bytes, and lists nothing in it."
            self._session.record.warn("listing_unchecked", key(path), text)

    async def _has_entries(self, folder: Segments) -> bool | None:
        """Whether a folder is listed with entries; None if it may not be listed."""
        try:
            async with aclosing(self.listings.read(folder, "1", folder=True)) as reading:
                async for entries in reading:
                    self.saw(entries)
                    if self._is_honoured:
                        return True
        except (Failed, NoAnswer):
            self._session.record.succeed(key(folder))  # only the copy's own requests count
            return None
        return False

    async def _size(self, path: Segments) -> int:
        """The size of a folder in bytes, as ownCloud and its descendants tell it; 0 if unknown."""
        headers = {"Depth": "0", "Content-Type": XML_TYPE}
        target = self.listings.target(path, folder=True)
        call = Call("PROPFIND", target, headers, Held(_SIZE_BODY))
        parser, found, buffer = Parser(), list[Entry](), bytearray(_LONGEST_ANSWER)
        try:
            async with self._session.call(call, key(path)) as answer:
                count = await answer.read(memoryview(buffer)) if answer.status == 207 else 0
                found += parser.feed(bytes(buffer[:count]))
        except (BadListing, Failed, NoAnswer):
            self._session.record.succeed(key(path))
            return 0
        text = (found[0].get("size", OWNCLOUD) or "") if found else ""
        return int(text) if text.isdecimal() else 0
