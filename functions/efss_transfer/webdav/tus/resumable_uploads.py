"""Send a large file by tus, so that an upload that is cut off goes on within this transfer.

A server has no list of uploads that a client can see, and their addresses cannot be guessed. So
only this gateway knows of its uploads. It keeps them for the next attempt, and has the server drop
those that are left in the end, which would take space there for a day. (A killed gateway cannot.)

The gateway still reads from the engine what the server has already, and compares its SHA-1 with
that of what it sent before. So an upload goes on only with the same bytes, whatever the source
says about its files. In the end the server's listing must have the SHA-1 of the whole.

`Upload-Checksum` is not sent: a part would have to be held in memory for it, and OpenCloud, which
offers it, does not compare it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.large import marks
from efss_transfer.webdav.large.making import Anew, anew
from efss_transfer.webdav.large.marks import Key
from efss_transfer.webdav.large.means import Means, may_go_on
from efss_transfer.webdav.large.stretches import Stretch, Stretches
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.tus.finishing import Finishing
from efss_transfer.webdav.tus.offer import TusOffers
from efss_transfer.webdav.tus.requests import Mark, TusRequests, TusUpload
from efss_transfer.webdav.writes.kept import Kept
from efss_transfer.webdav.writes.names import PARTIAL

LAST: Final = 1 << 16
"""Bytes that are sent last, from memory: by then the hash of the whole is known."""

_EXPIRED: Final = 403
_ANEW: Final = frozenset({_EXPIRED, 404, 409, 410, 412, 460})
# Among them those of a proxy that lets no PATCH or no body of this size pass.
_NO_PARTS: Final = frozenset({400, 403, 405, 411, 413, 415, 501})
_ERROR: Final = 500
_AGAIN: Final = 503
_MOST_LOOKS: Final = 10
_CHANGED: Final = "The file is not the one of which parts were sent before"


class NoTus(Exception):
    """Refusal of the first part of a file, before anything was read."""


class ResumableUploads:
    """Uploads to one server by tus, if it offers that."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._session = means.session
        self._listings = means.listings
        self._conditions = means.conditions
        self._offers = TusOffers(means.session, means.listings)
        self._requests = TusRequests(means.session, means.listings)
        self._finishing = Finishing(means, self._requests, self._offers.withdraw)
        # What failed attempts left, by the path in their keys.
        self._left: dict[str, TusUpload] = {}

    async def store(self, path: Segments, body: Body, headers: Mapping[str, str]) -> Kept | None:
        """Store a body. None before anything was read if it must go the plain way.

        Raises as a call does.
        """
        size = body.length
        if not isinstance(size, int) or not size > self._means.above > 0:
            return None
        offer = None if PARTIAL.fullmatch(path[-1]) else await self._offers.get()
        if offer is None or (offer.largest is not None and size > offer.largest):
            return None
        by_md5 = headers.get("oc-checksum", "").upper().startswith("MD5:")
        stretches = Stretches(body, by_md5=by_md5)
        file = Key.of(self._listings.target(path), size, headers)
        own = self._left.pop(file.path, None)
        try:
            if own is not None and own.whole is not None and own.key == file:
                kept = await self._finishing.after_all(own, headers)
                if kept is not None:
                    return await self._already_there(own, stretches, kept)
            upload = await self._begun(own, path, file, size, headers)
        except BaseException:
            if own is not None:
                self._left[file.path] = own
            raise
        if upload is None:
            return None
        try:
            return await self._stored(upload, stretches, headers)
        except BaseException as error:
            await self._means.clean_ups.run(self._end(upload, stretches, error))
            if isinstance(error, NoTus):
                return None
            if isinstance(error, Failed):
                raise await self._explained(path, error) from error
            raise

    def release(self) -> None:
        """Have the server drop what was left, once all requests have ended."""
        for upload in self._left.values():
            self._means.clean_ups.start(self._drop(upload))
        self._left.clear()

    async def _begun(
        self,
        own: TusUpload | None,
        path: Segments,
        file: Key,
        size: int,
        headers: Mapping[str, str],
    ) -> TusUpload | None:
        """Return the upload that was left, if the server still has it, or a new one."""
        if own is not None:
            if own.key == file and not own.has_expired:
                at = await self._requests.offset(own)
                if at is not None and at < size and at <= own.sent:
                    own.whole = None
                    return own
            await self._drop(own)
        condition = await self._conditions.certain(path)
        unique = self._conditions.with_unique_time(headers, condition)
        return await self._requests.create(path, file, size, unique, condition)

    async def _end(self, upload: TusUpload, stretches: Stretches, error: BaseException) -> None:
        """End the use of an upload after a failure: keep it for later if it may go on."""
        if not may_go_on(error):
            await self._drop(upload)
            return
        if stretches.at:
            # All that was passed was compared.
            later = [mark for mark in upload.marks if mark.at >= stretches.at]
            upload.marks = [*later, Mark(stretches.at, stretches.sha1)]
        self._left[upload.key.path] = upload

    async def _drop(self, upload: TusUpload) -> None:
        """Have the server drop an upload, unless it may become the file, which would go with it."""
        at: int | None = 0
        if upload.whole is not None:
            at = upload.size
            with suppress(Failed, Refused, NoAnswer):
                at = await self._requests.offset(upload)
        if at == upload.size:
            text = "The server may still make a file of it."
            self._session.record.warn("partial_left", key(upload.path), text)
        elif at is not None:
            await self._requests.terminate(upload)

    async def _already_there(self, upload: TusUpload, stretches: Stretches, kept: Kept) -> Kept:
        """Read a file that the server has after all."""
        await stretches.skip(upload.size)
        if stretches.sha1 != upload.whole:
            raise self._anew(upload, _CHANGED)
        self._session.record.resumed_bytes += upload.size
        return kept

    async def _stored(
        self, upload: TusUpload, stretches: Stretches, headers: Mapping[str, str]
    ) -> Kept:
        await self._resume(upload, stretches)
        resumed = stretches.at
        most = await self._means.largest("tus_support", "max_chunk_size")
        rate: float | None = None
        while (left := upload.size - LAST - stretches.at) > 0:
            length = marks.chunk_size(left, marks.MOST_CHUNKS, most, rate)
            length = min(length, _to_next_mark(upload, stretches.at) or length)
            begun = time.monotonic()
            await self._send(upload, stretches, length)
            rate = length / max(time.monotonic() - begun, 1e-3)
        at, pieces = stretches.at, list[bytes]()
        while (left := upload.size - stretches.at) > 0:
            pieces.append(await stretches.taken(_to_next_mark(upload, stretches.at) or left))
            self._check(upload, stretches)
        last = Held(b"".join(pieces))
        kept = await self._finishing.finish(upload, at, last, stretches, headers)
        self._session.record.resumed_bytes += resumed
        return kept

    async def _resume(self, upload: TusUpload, stretches: Stretches) -> None:
        """Read what the server has. It may still be writing what an attempt before had sent."""
        if not upload.marks:
            return
        for _ in range(_MOST_LOOKS):
            at = await self._requests.offset(upload)
            if at is None or at > upload.sent or at < stretches.at:
                raise self._anew(upload, "The server lost what was sent before")
            if at == stretches.at:
                return
            while stretches.at < at:
                left = at - stretches.at
                await stretches.skip(min(_to_next_mark(upload, stretches.at) or left, left))
                self._check(upload, stretches)
        raise self._anew(upload, "The server does not settle on what it has")

    def _check(self, upload: TusUpload, stretches: Stretches) -> None:
        """Compare what was read with what was sent before. Raises Anew."""
        here = [mark for mark in upload.marks if mark.at == stretches.at]
        if any(mark.sha1 != stretches.sha1 for mark in here):
            raise self._anew(upload, _CHANGED)

    async def _send(self, upload: TusUpload, stretches: Stretches, length: int) -> None:
        at = stretches.at
        stretch = Stretch(stretches, length)
        try:
            after = await self._requests.send(upload, at, stretch)
        except NoAnswer as error:
            # The site's rules may keep this transfer from the address of the upload.
            if error.cause == "denied":
                raise self._without_tus(upload, stretches) from error
            raise
        except Failed as failed:
            # 403 is also how oCIS answers at an address that has expired.
            if failed.status in _NO_PARTS and not (failed.status == _EXPIRED and at):
                raise self._without_tus(upload, stretches) from failed
            if failed.status != _ERROR:
                raise
            # The server has what was sent before, so another attempt is worth it.
            call, path = Call("PATCH", key(upload.path)), key(upload.path)
            raise self._session.failed(call, path, failed.said, _AGAIN) from failed
        self._check(upload, stretches)
        if after is None:
            after = await self._requests.offset(upload)
        if stretch.left or after != at + length:
            self._offers.withdraw()
            raise self._anew(upload, "The server took another part than it was sent")

    def _without_tus(self, upload: TusUpload, stretches: Stretches) -> NoTus | Anew:
        """Use tus no more, because the server takes no parts."""
        self._offers.withdraw()
        return self._anew(upload, "The server takes no parts") if stretches.at else NoTus()

    def _anew(self, upload: TusUpload, reason: str) -> Anew:
        return anew(self._session, upload.path, reason)

    async def _explained(self, path: Segments, failed: Failed) -> Failed:
        """Return the error of an upload; learn from it what the next one must know."""
        if failed.status in (404, 409):
            # The file's folder may have been deleted: the next MKCOL for it must be sent.
            self._means.forget_folders()
        if failed.status in (409, 412):
            await self._conditions.looked(path)
        if failed.status not in _ANEW:
            return failed
        return anew(self._session, path, f"The server refused a part ({failed.said.message})")


def _to_next_mark(upload: TusUpload, at: int) -> int | None:
    """Return how many bytes there are to the next mark; None after the last one."""
    return min((mark.at - at for mark in upload.marks if mark.at > at), default=None)
