"""Send one batch of files as a bulk request, and find out which of them were stored.

A file that the answer does not report as stored goes the plain way, where the server says what is
wrong with it. So one bad file costs only itself.
"""

from __future__ import annotations

import secrets
from email.utils import parsedate_to_datetime
from typing import Final

from efss_transfer.webdav.bulk import parts
from efss_transfer.webdav.bulk.offer import Offer
from efss_transfer.webdav.bulk.parts import BulkFile
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.listings import Listings, Named
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.session import Failed, Refused, ServerSession

_LONGEST_ANSWER: Final = 1 << 20
_NO_ANSWER: Final = 0
_BAD_PART: Final = 400
_TOO_LARGE: Final = 413
_NO_BULK: Final = 501
# A server that is busy, or a proxy that gave it up, may do better the next time. Others do not.
_MAY_PASS: Final = frozenset({_NO_ANSWER, 200, _BAD_PART, _TOO_LARGE, 423, 429, 500, 502, 503, 504})
_MOST_FAILURES: Final = 2
_MOST_BAD_PARTS: Final = 3


class Sender:
    """Bulk requests to one server. `most_bytes` is what one request may carry."""

    def __init__(self, session: ServerSession, listings: Listings, offer: Offer) -> None:
        self._session = session
        self._listings = listings
        self._offer = offer
        self._failures = 0
        self._is_trusted = False
        self.most_bytes = 4 << 20
        """Half of what PHP accepts by default (`post_max_size`)."""

    async def send(self, files: list[BulkFile]) -> dict[str, str]:
        """Send the files; return the ETag of each that was stored, by its name in the request."""
        if not await self._offer.holds():
            return {}
        stored: dict[str, str] = {}
        left = files
        for _ in range(_MOST_BAD_PARTS):
            status, said = await self._post(left)
            sent = {file.name for file in left}
            stored |= {name: etag for name, etag in said.items() if etag and name in sent}
            if status != _BAD_PART:
                break
            # The server stops at a part that is broken, and has stored those before it.
            left = [file for file in left if file.name not in said][1:]
            if not left:
                break
        if stored:
            self._failures = 0
        else:
            self._failed(status)
        if stored and not self._is_trusted and not await self._is_confirmed(files, stored):
            self._offer.withdraw()
            return {}
        return stored

    async def _post(self, files: list[BulkFile]) -> tuple[int, dict[str, str | None]]:
        """Send one request; return the status, and what the answer says of each file."""
        boundary = secrets.token_hex(16)
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        call = Call("POST", self._offer.target, headers, Held(parts.request(files, boundary)))
        path = key(files[0].path)
        try:
            async with self._session.call(call, path) as answer:
                if answer.status not in (200, _BAD_PART):
                    return answer.status, {}
                said = parts.answered(await answer.text(_LONGEST_ANSWER))
        except (Failed, Refused, NoAnswer) as error:
            self._session.record.succeed(path)  # the plain upload tells what is wrong
            return error.said.status or _NO_ANSWER if isinstance(error, Failed) else _NO_ANSWER, {}
        # Anything but JSON, such as a sign-in page, is no answer of a server with bulk uploads.
        return (answer.status, said) if said is not None else (_NO_BULK, {})

    def _failed(self, status: int) -> None:
        """Learn from a request that stored nothing how, or whether, to go on."""
        if status in (_BAD_PART, _TOO_LARGE):
            self.most_bytes //= 2  # PHP drops a body that exceeds its limit, and reads no part
        self._failures += 1
        if status not in _MAY_PASS or self._failures >= _MOST_FAILURES:
            self._offer.withdraw()

    async def _is_confirmed(self, files: list[BulkFile], stored: dict[str, str]) -> bool:
        """Look at one file of the first batch, before any answer of this kind is believed.

        The rest is confirmed by the listings at the end.
        """
        file = next(file for file in files if file.name in stored)
        try:
            found = await self._listings.one(file.path, folder=False)
        except (Failed, Refused, NoAnswer):
            return False
        self._is_trusted = found is not None and _is_same(file, stored[file.name], found)
        return self._is_trusted


def _is_same(file: BulkFile, etag: str, found: Named) -> bool:
    if found.size != file.size or (found.entry.get("getetag") or "").strip('"') != etag:
        return False
    if file.modified is None:
        return True
    try:
        modified = parsedate_to_datetime(found.entry.get("getlastmodified") or "").timestamp()
    except ValueError:
        return False
    return int(modified) == int(file.modified)
