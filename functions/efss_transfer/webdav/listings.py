"""Answer an engine's PROPFIND with a correct listing, or with an error that fails it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Final
from xml.sax.saxutils import escape

from efss_transfer.webdav import dialects, drives
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Held
from efss_transfer.webdav.memory import Memory, Stored, key
from efss_transfer.webdav.multistatus import OWNCLOUD, Entry, Parser
from efss_transfer.webdav.paths import Base, EntryPlacer, Segments, UnplacedEntry, encoded
from efss_transfer.webdav.reading.bad_listings import BadListing, Malformed, Truncated
from efss_transfer.webdav.reading.whole import redirected, whole
from efss_transfer.webdav.session import Failed, ServerSession
from efss_transfer.webdav.words import RequestFailure, Words

OPENING: Final = (
    b'<?xml version="1.0" encoding="utf-8"?>\n'
    b'<d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
)
CLOSING: Final = b"</d:multistatus>"

XML_TYPE: Final = "application/xml; charset=utf-8"
"""Content-Type of a WebDAV request or answer."""
_SHOWN: Final = ("getlastmodified", "getetag", "quota-available-bytes", "quota-used-bytes")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_AT_ONCE: Final = 8
_PIECE: Final = 1 << 16
_PROCESSING: Final = 425
_BUSY: Final = frozenset({423, 429, 503})
_NO_WEBDAV: Final = 501  # rclone does not retry it


@dataclass(frozen=True, slots=True)
class Named:
    """Entry with its name in the folder; None for the folder, or the file, itself."""

    name: str | None
    entry: Entry
    size: int | None = None


class Listings:
    """Listings of one server."""

    def __init__(
        self, session: ServerSession, base: Base, dialect: Dialect, memory: Memory
    ) -> None:
        self.session = session
        self.base = base
        self.dialect = dialect
        self._memory = memory
        self._heads = asyncio.Semaphore(_AT_ONCE)
        self._prefix = encoded(base.asked)

    def target(self, path: Segments, *, folder: bool = False) -> str:
        """Build the request target for a path."""
        whole = self._prefix + encoded(path)
        return f"{whole}/" if folder else whole or "/"

    def url(self, path: Segments, *, folder: bool = False) -> str:
        """Build the URL of a path at the server."""
        return f"{self.session.upstream.origin}{self.target(path, folder=folder)}"

    async def read(
        self, path: Segments, depth: str, *, folder: bool, quota: bool = False
    ) -> AsyncGenerator[list[Named], None]:
        """Yield the entries in batches. Raises Failed, Refused and NoAnswer."""
        body = dialects.QUOTA_BODY if quota else self.dialect.listing_body
        headers = {"Depth": depth, "Content-Type": XML_TYPE}
        call = Call("PROPFIND", self.target(path, folder=folder), headers, Held(body))
        listing: EntryPlacer[Entry] = EntryPlacer(self.base, path)
        async with self.session.call(call, key(path)) as answer:
            await self._check(call, path, answer)
            try:
                async for entries in self._entries(answer):
                    yield whole(await self.sized(path, listing.place(entries)), depth)
                yield whole(await self.sized(path, listing.finish()), depth)
                if depth != "0" and not listing.has_own and listing.is_empty:
                    raise Malformed(
                        "the listing is empty and lacks the folder itself: check the URL"
                    )
            except (BadListing, UnplacedEntry) as error:
                # A truncated listing may be complete on a retry; other content will not change.
                status = 502 if isinstance(error, Truncated) else _NO_WEBDAV
                text = f"PROPFIND {self.url(path)}: {redirected(answer)}{error}"
                said = Words(answer.status, "", text)
                raise self.session.failed(call, key(path), said, status) from error

    async def one(self, path: Segments, *, folder: bool, quota: bool = False) -> Named | None:
        """Look up one resource; None if the server says that it does not exist."""
        found: Named | None = None
        try:
            async for entries in self.read(path, "0", folder=folder, quota=quota):
                found = found or next((one for one in entries if one.name is None), None)
        except Failed as failed:
            if failed.status == 404:
                self.session.record.is_absent(key(path))
                return None
            raise
        if quota and found is not None and self.dialect.drives:
            left = await drives.remaining(self.session)
            if left is not None:
                told = {**found.entry.properties, "DAV: quota-available-bytes": str(left)}
                return replace(found, entry=replace(found.entry, properties=told))
        return found

    async def has_home(self) -> bool:
        """Return whether the configured URL exists. A refusal to list it leaves that open."""
        try:
            return await self.one((), folder=True) is not None
        except Failed:
            self.session.record.succeed("")
            return True

    def homeless(self, path: Segments, status: int) -> Failed:
        """Record that a path cannot exist, because the configured URL does not."""
        text = (
            f"{self.url(())}: the server has no such user, space or folder, or the credential "
            "has no access to it; check the URL"
        )
        call = Call("PROPFIND", self.target(path))
        return self.session.failed(call, key(path), Words(404, "", text), status)

    async def free(self, folder: Segments) -> int | None:
        """Return the free space of a folder in bytes; None if the server does not tell it."""
        if self.dialect.drives:
            left = await drives.remaining(self.session)
            if left is not None:
                return left
        try:
            found = await self.one(folder, folder=True, quota=True)
        except (Failed, NoAnswer):
            self.session.record.succeed(key(folder))  # the upload itself is to tell it
            return None
        text = (found.entry.get("quota-available-bytes") or "").strip() if found else ""
        # Negative values are ownCloud's for "not calculated", "unknown" and "unlimited".
        return int(text) if _NUMBER.fullmatch(text) else None

    async def _check(self, call: Call, path: Segments, answer: Answer) -> None:
        if answer.status in (200, 207):
            return
        if answer.status == 404 and not answer.redirects:
            raise Failed(404, Words(404))  # an answer, not a failure
        if answer.status >= 400:
            failed = await self.session.error(call, key(path), answer)
            if not answer.redirects:
                raise failed
            # A sign-in page often has nothing to say about PROPFIND but a status.
            said = replace(failed.said, message=f"{redirected(answer)}{failed.said.message}")
            raise self.session.failed(call, key(path), said)
        where = answer.header("location") or ""
        reason = f"redirect to {where.partition('?')[0]}" if where else "not a WebDAV answer"
        said = Words(answer.status, "", f"PROPFIND {self.url(path)}: {reason}; check the URL")
        raise self.session.failed(call, key(path), said, _NO_WEBDAV)

    async def _entries(self, answer: Answer) -> AsyncIterator[list[Entry]]:
        parser = Parser()
        buffer = answer.body.buffer(_PIECE)
        while count := await answer.read(buffer):
            if entries := parser.feed(bytes(buffer[:count])):
                yield entries
        yield parser.close()

    async def sized(
        self, path: Segments, placed: Iterable[tuple[str | None, Entry]]
    ) -> list[Named]:
        """Add sizes to entries, with a HEAD request for each file that the listing gives none."""
        found = [Named(name, entry, self._size(path, name, entry)) for name, entry in placed]
        self._judge(path, found)
        unknown = [
            number
            for number, one in enumerate(found)
            if one.size is None and not one.entry.collection and one.name is not None
        ]
        if unknown:
            sizes = await asyncio.gather(*(self._ask(path, found[number]) for number in unknown))
            for number, size in zip(unknown, sizes, strict=True):
                found[number] = Named(found[number].name, found[number].entry, size)
        return found

    def _judge(self, path: Segments, found: list[Named]) -> None:
        """Record the files that the listing has an error for, and remove those that recovered.

        A folder is no file: the engine lists it, and so meets its error. A file that is being
        processed (425) has its properties all the same.
        """
        record = self.session.record
        for one in found:
            status = one.entry.failure
            if one.name is None or (status is None and not record.entries):
                continue
            at = key((*path, one.name))
            if status is None:
                record.entries.pop(at, None)
            elif status != _PROCESSING and not one.entry.collection:
                record.fail_entry(RequestFailure("PROPFIND", at, Words(status)))

    def _size(self, path: Segments, name: str | None, entry: Entry) -> int | None:
        whole = path if name is None else (*path, name)
        if (learned := self._memory.sizes.get(key(whole))) is not None:
            return learned
        return entry.length if isinstance(entry.length, int) else None

    async def _ask(self, path: Segments, one: Named) -> int:
        """Request the size by HEAD.

        Returns 0 if the server gives none: reading the file then reports the error.
        """
        whole = (*path, one.name or "")
        if one.entry.failure in _BUSY:
            # Each HEAD would wait until the file is free, and the listing with it.
            return 0
        call = Call("HEAD", self.target(whole), beside=True)
        try:
            async with self._heads, self.session.call(call, key(whole)) as answer:
                length, status = answer.header("content-length"), answer.status
        except Failed as failed:  # a file that is busy fails, but not its folder
            length, status = None, failed.status
        if status == 200 and length is not None and length.isdigit():
            return int(length)
        if status >= 400:
            said = Words(one.entry.failure or status)
            self.session.record.fail_entry(RequestFailure(call.method, key(whole), said))
        return 0


def rendered(folder: str, one: Named) -> bytes:
    """Render an entry for the engine. `folder` is the requested path as the engine wrote it."""
    entry = one.entry
    href = folder
    if one.name is not None:
        href = f"{folder.rstrip('/')}{encoded([one.name])}{'/' if entry.collection else ''}"
    kind = "<d:collection/>" if entry.collection else ""
    parts = [f"<d:response><d:href>{escape(href)}</d:href><d:propstat><d:prop>"]
    parts.append(f"<d:resourcetype>{kind}</d:resourcetype>")
    if not entry.collection:
        parts.append(f"<d:getcontentlength>{one.size or 0}</d:getcontentlength>")
    parts.extend(
        f"<d:{name}>{escape(text)}</d:{name}>" for name in _SHOWN if (text := entry.get(name))
    )
    if entry.checksums:
        sums = escape(" ".join(entry.checksums))
        parts.append(f"<oc:checksums><oc:checksum>{sums}</oc:checksum></oc:checksums>")
    if permissions := entry.get("permissions", OWNCLOUD):
        parts.append(f"<oc:permissions>{escape(permissions)}</oc:permissions>")
    parts.append("</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>")
    return "".join(parts).encode("utf-8", "replace")


def folder_entry() -> Entry:
    """Build an entry for a folder without known properties."""
    return Entry("", None, (), collection=True)


def stored_entry(stored: Stored) -> Entry:
    """Build an entry for a file that was just uploaded."""
    properties = {}
    if stored.modified is not None:
        properties["DAV: getlastmodified"] = formatdate(stored.modified, usegmt=True)
    if stored.etag:
        properties["DAV: getetag"] = stored.etag
    checksums = (stored.checksum,) if stored.checksum else ()
    return Entry("", None, (), collection=False, checksums=checksums, properties=properties)


def outcome(body: bytes) -> int:
    """Extract the status of the one resource in a PROPPATCH response: 200, or the error."""
    parser = Parser()
    try:
        entries = [*parser.feed(body), *parser.close()]
    except BadListing:
        return 500
    bad = [
        one.status
        for entry in entries
        for one in entry.propstats
        if one.status is not None and one.status >= 300
    ]
    return bad[0] if bad else 200 if len(entries) == 1 and not entries[0].failure else 500
