"""What the ways of large uploads have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from efss_transfer.webdav.bulk.capabilities import Capabilities
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.http.server import EngineGone
from efss_transfer.webdav.large.making import Anew
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments, segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession
from efss_transfer.webdav.writes.cleanups import CleanUps
from efss_transfer.webdav.writes.conditions import Conditions

# Errors that may pass. What was sent is of no more use after any other answer.
_MAY_PASS: Final = frozenset({408, 423, 425, 429, 500, 502, 503, 504})

_OTHER_BYTES: Final = (
    "The server has stored other bytes than it was sent, and does not remove them."
)


@dataclass(frozen=True)
class Means:
    """What uploads of files of more than `above` bytes need; `above` is 0 for none."""

    session: ServerSession
    listings: Listings
    conditions: Conditions
    clean_ups: CleanUps
    capabilities: Capabilities
    forget_folders: Callable[[], None]
    above: int

    async def largest(self, *names: str) -> int | None:
        """Return how large a part may be by what the server says; None if it does not."""
        home = segments(self.session.home)
        at = next((at for at, name in enumerate(home) if name.endswith(".php")), 0)
        said = await self.capabilities.get(home[:at], "files", *names)
        return said if isinstance(said, int) and said > 0 else None

    async def remove(self, path: Segments, etag: str | None) -> None:
        """Remove a file that an upload has left, and that is not what was sent."""
        contradicted = self.session.record.contradicted
        contradicted[key(path)] = _OTHER_BYTES  # unless the next lines, or a later upload, help
        headers = {"If-Match": etag} if etag else {}
        call = Call("DELETE", self.listings.target(path), headers)
        await self.session.succeed(call, key(path))
        contradicted.pop(key(path), None)
        await self.conditions.looked(path)


def may_go_on(error: BaseException) -> bool:
    """Return whether a later upload may go on after an error."""
    if isinstance(error, Failed):
        return not isinstance(error, Anew) and error.status in _MAY_PASS
    return isinstance(error, NoAnswer | Refused | EngineGone | asyncio.CancelledError)
