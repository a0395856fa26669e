"""Conditions of uploads: what a file must still be when another replaces it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import Memory, key, strong
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.writes.twins import Twins

ABSENT: Final[Mapping[str, str]] = {"If-None-Match": "*"}


class Conditions:
    """Conditions at one server, as headers of a PUT; empty where nothing is known of a file."""

    def __init__(self, listings: Listings, memory: Memory, dialect: Dialect, twins: Twins) -> None:
        self._listings = listings
        self._twins = twins
        self._memory = memory
        self._dialect = dialect

    def known(self, path: Segments) -> Mapping[str, str]:
        """Return the condition that a file is still as it was listed or stored."""
        if self._memory.is_absent(path):
            return ABSENT
        etag = self._memory.etags.get(key(path))
        return {"If-Match": etag} if etag else {}

    async def certain(self, path: Segments) -> Mapping[str, str]:
        """Return the known condition, or look where the server would ignore it."""
        condition = self.known(path)
        is_ignored = self._dialect.creates_over and condition == ABSENT
        if is_ignored and not self._memory.was_just_absent(path):
            return await self.looked(path)
        return condition

    async def is_anothers(self, path: Segments) -> bool:
        """Return whether an upload has been replaced by another client's, or deleted.

        rclone deletes an upload that differs from its source, whoever has stored what it found.
        """
        own = self._memory.own.get(key(path))
        if own is None:
            return False
        found = await self._listings.one(path, folder=False)
        if found is None:
            return True
        # WsgiDAV lists an ETag without the quotes that it has in a header.
        return (found.entry.get("getetag") or "").strip('"') != own.strip('"')

    async def looked(self, path: Segments) -> Mapping[str, str]:
        """Request the file's current state and return the matching condition.

        Raises Failed if the file is there, but is another one of the source.
        """
        found = await self._listings.one(path, folder=False)
        if found is None:
            self._memory.etags.pop(key(path))
            return ABSENT
        etag = strong(found.entry.get("getetag"))
        if etag is not None and self._memory.is_absent(path):
            await self._twins.check_unlisted(path, etag)
        self._memory.etags.put(key(path), etag)
        return {"If-Match": etag} if etag else {}

    def with_unique_time(
        self, headers: Mapping[str, str], condition: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return headers whose time no older version of the file has."""
        given = headers.get("x-oc-mtime", "")
        if not self._dialect.versions_by_time or condition == ABSENT or not given.isdigit():
            return headers
        return {**headers, "x-oc-mtime": f"{given}.{1 + secrets.randbelow(999_999_999):09d}"}
