"""Confirm uploads by the listings of their folders, at the end of a copy.

After each upload rclone asks for the file. The gateway answers that from the server's answer to the
upload, to save a request for each file. But a server, or a proxy before it, may report success and
have stored less, or nothing. One listing for each folder shows it.
"""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Listings, Named
from efss_transfer.webdav.memory import Stored, key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.words import Record

_FEW: Final = 3  # Files of one folder that are asked for one by one: it may have thousands.
_MOST: Final = 20_000
_PROCESSING: Final = 425
_Expected = tuple[int, str | None]  # the size, and the ETag if it must be the same


class Confirmations:
    """Uploads whose success only the answer to them has shown.

    What a listing contradicts is in `record.contradicted`; folders that cannot be listed are in
    `record.unlisted`.
    """

    def __init__(self, listings: Listings, record: Record) -> None:
        self._listings = listings
        self._record = record
        self._expected: dict[Segments, dict[str, _Expected]] = {}
        self._count = 0

    async def expect(self, path: Segments, stored: Stored) -> None:
        """Add an upload. If there are too many, those of the fullest folder are confirmed."""
        files = self._expected.setdefault(path[:-1], {})
        self._count += path[-1] not in files
        # An answer for many files may have mixed them up.
        files[path[-1]] = stored.size, stored.etag if stored.in_bulk else None
        if self._count > _MOST:
            fullest = max(self._expected, key=lambda one: len(self._expected[one]))
            await self._confirm_folder(fullest)

    def forget(self, path: Segments) -> None:
        """Remove an upload: the file is uploaded again, or deleted."""
        files = self._expected.get(path[:-1], {})
        if files.pop(path[-1], None) is not None:
            self._count -= 1

    async def confirm(self) -> None:
        """Confirm all uploads so far."""
        while self._expected:
            await self._confirm_folder(next(iter(self._expected)))

    async def _confirm_folder(self, folder: Segments) -> None:
        expected = self._expected.pop(folder)
        self._count -= len(expected)
        if not expected:
            return
        try:
            found = await self._found(folder, expected)
        except (Failed, Refused, NoAnswer) as error:
            said = error.said.message if isinstance(error, Failed) else str(error)
            self._record.unlisted.setdefault(key(folder), said or "The server did not answer.")
            return
        for name, (size, etag) in expected.items():
            if (text := _contradiction(size, etag, found.get(name))) is not None:
                self._record.contradicted[key((*folder, name))] = text

    async def _found(self, folder: Segments, expected: dict[str, _Expected]) -> dict[str, Named]:
        found = {}
        if len(expected) <= _FEW:
            for name in expected:
                if (one := await self._listings.one((*folder, name), folder=False)) is not None:
                    found[name] = one
            return found
        # Nextcloud lists the composed form of a name, whichever form the upload had.
        composed = {normalize("NFC", name): name for name in expected if not name.isascii()}
        async for entries in self._listings.read(folder, "1", folder=True):
            for one in entries:
                listed = one.name or ""
                if listed in expected or listed in composed:
                    found[composed.get(listed, listed)] = one
        return found


def _contradiction(size: int, etag: str | None, found: Named | None) -> str | None:
    """Why a file is not what was uploaded; None if nothing shows that."""
    if found is None:
        return "The server reported the upload as successful, but does not list the file."
    if found.entry.failure == _PROCESSING:
        return None
    reported = "The server reported the upload as successful, but lists"
    if found.size == size:
        is_same = etag is None or found.entry.get("getetag") == etag
        return None if is_same else f"{reported} another version of the file."
    if found.entry.failure is not None:
        return f"The server lists the uploaded file with status {found.entry.failure}."
    return f"{reported} {found.size} of {size} bytes."
