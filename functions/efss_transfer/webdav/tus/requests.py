"""Requests of one upload by tus: begin it, ask for its offset, send a part, end it.

oCIS answers at an address that is signed for this upload alone and needs no credential. So the
address is as good as a secret: it stands in no message and no log.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Upload
from efss_transfer.webdav.large.marks import Key
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.tus.offer import VERSION

_TYPE: Final = "application/offset+octet-stream"
_GONE: Final = frozenset({403, 404, 410})
_AGAIN: Final = 503
# What may pass, or what a PUT would be answered as well. After any other refusal of an upload the
# file goes by PUT, which the server answers in its own words.
_SAID: Final = frozenset({401, 423, 425, 429, 502, 503, 504, 507})


@dataclass(frozen=True, slots=True)
class Mark:
    """SHA-1 of the first `at` bytes of what was sent."""

    at: int
    sha1: str


@dataclass(eq=False)
class TusUpload:
    """Upload that was begun at the server.

    `condition` is that under which it replaces a file. `marks` are what is known of the bytes that
    earlier attempts sent: the server's must be those of the last one, up to its offset. `whole` is
    the SHA-1 of the file once all of it was sent and the server did not answer.
    """

    origin: Origin
    target: str
    path: Segments
    key: Key
    size: int
    condition: Mapping[str, str]
    expires: float | None = None
    marks: list[Mark] = field(default_factory=list)
    whole: str | None = None

    @property
    def sent(self) -> int:
        """How many bytes the server may have at most."""
        return max((mark.at for mark in self.marks), default=0)

    @property
    def has_expired(self) -> bool:
        """Return whether the server may have dropped it by now."""
        return self.expires is not None and time.time() >= self.expires


class TusRequests:
    """Requests to one server."""

    def __init__(self, session: ServerSession, listings: Listings) -> None:
        self._session = session
        self._listings = listings

    async def create(
        self,
        path: Segments,
        file: Key,
        size: int,
        headers: Mapping[str, str],
        condition: Mapping[str, str],
    ) -> TusUpload | None:
        """Begin an upload. None if the file must go the plain way. Raises as a call does."""
        metadata = {"filename": path[-1], "mtime": headers.get("x-oc-mtime")}
        sent = {
            "Tus-Resumable": VERSION,
            "Upload-Length": str(size),
            "Upload-Metadata": ",".join(
                f"{name} {b64encode(text.encode('utf-8', 'surrogateescape')).decode('ascii')}"
                for name, text in metadata.items()
                if text is not None
            ),
            **condition,
        }
        # Nobody else learns of an upload whose answer is lost, so it is not asked for twice.
        folder = self._listings.target(path[:-1], folder=True)
        call = Call("POST", folder, sent, Held(b""), once=True)
        async with self._session.call(call, key(path)) as answer:
            if answer.status in _SAID or answer.status >= 508:
                raise await self._session.error(call, key(path), answer)
            if answer.status != 201:
                return None
            where = self._session.upstream.located(answer)
            if where is None:
                return None
            expires = moment(answer.header("upload-expires"))
            return TusUpload(*where, path, file, size, condition, expires)

    async def offset(self, upload: TusUpload) -> int | None:
        """Return how many bytes the server has; None if it has no such upload any more."""
        call, path = self._call("HEAD", upload), key(upload.path)
        async with self._session.call(call, path) as answer:
            if answer.status in _GONE:
                return None
            if answer.status >= 300:
                raise await self._session.error(call, path, answer, _AGAIN)
            length = _number(answer, "upload-length")
            at = _number(answer, "upload-offset")
            if at is None or at > upload.size or length not in (None, upload.size):
                return None
            return at

    async def send(
        self, upload: TusUpload, at: int, body: Upload, *, once: bool = False
    ) -> int | None:
        """Send a part, which begins at `at`; return the offset after it, None if that is unsaid."""
        headers = {"Upload-Offset": str(at), "Content-Type": _TYPE}
        call = self._call("PATCH", upload, headers, body, once=once)
        answer = await self._session.succeed(call, key(upload.path))
        upload.expires = moment(answer.header("upload-expires")) or upload.expires
        return _number(answer, "upload-offset")

    async def terminate(self, upload: TusUpload) -> None:
        """Have the server drop an upload that is not complete.

        OpenCloud names that among its extensions (`termination`) at this address only, so it is
        sent to any server: one without it refuses.
        """
        call = self._call("DELETE", upload)
        with suppress(Failed, NoAnswer):
            try:
                async with self._session.call(call, ""):
                    pass
            except Refused:
                # The address itself may be enough.
                async with self._session.upstream.call(call):
                    pass
        self._session.record.succeed("")

    def _call(
        self,
        method: str,
        upload: TusUpload,
        headers: Mapping[str, str] | None = None,
        body: Upload | None = None,
        *,
        once: bool = False,
    ) -> Call:
        sent = {"Tus-Resumable": VERSION, **(headers or {})}
        return Call(method, upload.target, sent, body, once=once, origin=upload.origin)


def _number(answer: Answer, name: str) -> int | None:
    text = (answer.header(name) or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def moment(text: str | None) -> float | None:
    """Read Upload-Expires: a date (RFC 9110), or as OpenCloud writes it, seconds since 1970."""
    given = (text or "").strip()
    if given.isascii() and given.isdecimal() and len(given) < 20:
        return float(given)
    try:
        at = parsedate_to_datetime(given)
    except (ValueError, TypeError):
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
