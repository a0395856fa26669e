"""Whether a server takes bulk uploads, and at which address: by its capabilities, not its name."""

from __future__ import annotations

import asyncio
from typing import Final

from efss_transfer.webdav.bulk.capabilities import Capabilities
from efss_transfer.webdav.paths import Segments, encoded, segments
from efss_transfer.webdav.session import ServerSession

_FILES: Final = ("remote.php", "dav", "files")


class Offer:
    """Bulk uploads of one server, to the files of the user who signs in.

    The request names no user, so the configured URL must be below that user's files.
    """

    def __init__(self, session: ServerSession, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        home = segments(session.home)
        at = next((at for at in range(len(home)) if home[at : at + 3] == _FILES), None)
        self.is_possible = at is not None and len(home) > at + 3
        """Whether it may hold: the URL has the form, and no request was refused."""
        self._site: Segments = home[:at]
        self._inside: Segments = home[(at or 0) + 4 :]
        self._asking = asyncio.Lock()
        self._holds: bool | None = None

    @property
    def target(self) -> str:
        """The request target of a bulk upload."""
        return encoded((*self._site, "remote.php", "dav", "bulk"))

    def name(self, path: Segments) -> str:
        """Return how a request names a file below the configured URL."""
        return "/" + "/".join((*self._inside, *path))

    def withdraw(self) -> None:
        """Use bulk uploads no more."""
        self.is_possible = False

    async def holds(self) -> bool:
        """Ask the server once whether it takes bulk uploads."""
        async with self._asking:
            if self._holds is None:
                self._holds = self.is_possible and await self._asked()
                self.is_possible = self.is_possible and self._holds
        return self.is_possible

    async def _asked(self) -> bool:
        return bool(await self._capabilities.get(self._site, "dav", "bulkupload"))
