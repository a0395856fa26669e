"""Send the end of an upload by tus, which makes it the file, and find out whether it did.

The server compares the file that is replaced with the condition only when an upload begins, so the
gateway looks once more before the end of it is sent. After the end nothing is believed but the
server's listing: it must show the size, and the SHA-1 where it shows any.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Final, NoReturn

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.large.making import anew
from efss_transfer.webdav.large.means import Means
from efss_transfer.webdav.large.stretches import Stretches
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.memory import key, strong
from efss_transfer.webdav.session import Failed
from efss_transfer.webdav.tus.requests import TusRequests, TusUpload
from efss_transfer.webdav.words import Words
from efss_transfer.webdav.writes.kept import Kept

_UNCERTAIN: Final = frozenset({502, 504})
_PROCESSING: Final = 425
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_NOT_AS_SENT: Final = "The server did not store the file as it was sent"
_WRONG_SUM: Final = Words(
    400, "", "The computed checksum does not match the one of the source: it changed meanwhile."
)


class Finishing:
    """Ends of uploads to one server; `distrust` is called when one does not hold."""

    def __init__(self, means: Means, requests: TusRequests, distrust: Callable[[], None]) -> None:
        self._means = means
        self._session = means.session
        self._listings = means.listings
        self._conditions = means.conditions
        self._requests = requests
        self._distrust = distrust

    async def finish(
        self,
        upload: TusUpload,
        at: int,
        last: Held,
        stretches: Stretches,
        headers: Mapping[str, str],
    ) -> Kept:
        """Send the last part, and look at the file. Raises as a call does, and Anew."""
        path = upload.path
        if not _is_of(headers.get("oc-checksum", ""), stretches):
            raise self._session.failed(Call("PUT", key(path)), key(path), _WRONG_SUM)
        if upload.condition and await self._conditions.looked(path) != upload.condition:
            raise anew(self._session, path, "The file was changed at the server meanwhile")
        upload.whole = stretches.sha1
        try:
            # Twice at the same time could store twice as much.
            await self._requests.send(upload, at, last, once=True)
        except Failed as failed:
            if failed.said.status not in _UNCERTAIN or failed.said.exception:
                upload.whole = None
                raise
            error: Exception = failed
        except NoAnswer as no_answer:
            error = no_answer
        else:
            kept = await self.after_all(upload, headers)
            return await self._refused(upload) if kept is None else kept
        return await self._awaited(upload, headers, error)

    async def after_all(self, upload: TusUpload, headers: Mapping[str, str]) -> Kept | None:
        """Return the file that the server has made of an upload; None if it is another one."""
        there = await self._listings.one(upload.path, folder=False)
        if there is None or there.size != upload.size:
            return None
        etag = strong(there.entry.get("getetag"))
        sums = {one.upper() for text in there.entry.checksums for one in text.split()}
        told = [one for one in sums if one.startswith("SHA1:")]
        if told and f"SHA1:{upload.whole}".upper() not in told:
            return None
        if not told and etag is not None and etag == upload.condition.get("If-Match"):
            return None
        checksum = " ".join(there.entry.checksums) or None
        return Kept(etag, keeps_time=_keeps_time(there, headers), checksum=checksum)

    async def _refused(self, upload: TusUpload) -> NoReturn:
        """Remove a file that is not what was sent, and raise Anew.

        Its size and time are those of the source, so the next attempt would take it for the file.
        """
        self._distrust()
        there = await self._listings.one(upload.path, folder=False)
        etag = None if there is None else strong(there.entry.get("getetag"))
        is_old = etag is not None and etag == upload.condition.get("If-Match")
        if there is not None and there.size == upload.size and not is_old:
            await self._means.remove(upload.path, etag)
        raise anew(self._session, upload.path, _NOT_AS_SENT)

    async def _awaited(
        self, upload: TusUpload, headers: Mapping[str, str], error: Exception
    ) -> Kept:
        """Wait until the file is there, or the server has not all of it. Raises the error then."""
        until = self._session.patient_until
        pause = _FIRST_PAUSE
        while True:
            if (kept := await self.after_all(upload, headers)) is not None:
                self._session.record.succeed(key(upload.path))
                return kept
            at = await self._requests.offset(upload)
            if at is None:
                # It may have become the file between the two looks.
                kept = await self.after_all(upload, headers)
                return await self._refused(upload) if kept is None else kept
            if at < upload.size:
                upload.whole = None
                raise error
            if time.monotonic() + pause > until:
                raise error
            with self._session.record.waits.during(_PROCESSING, key(upload.path), pause):
                await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _is_of(given: str, stretches: Stretches) -> bool:
    """Return whether what was read is what the engine said that it would be."""
    kind, _, value = given.partition(":")
    known = {"SHA1": stretches.sha1, "MD5": stretches.md5}.get(kind.upper())
    return known is None or known == value.strip().lower()


def _keeps_time(there: Named, headers: Mapping[str, str]) -> bool:
    given = headers.get("x-oc-mtime", "")
    told = there.entry.get("getlastmodified")
    return given.isdigit() and told == formatdate(int(given), usegmt=True)
