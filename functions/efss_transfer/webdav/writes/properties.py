"""Set the time of a file, and have the server calculate its hash."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Final

from efss_transfer.webdav import listings
from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.http.server import EngineReply, EngineRequest
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.lookups import LONGEST_REQUEST, XML
from efss_transfer.webdav.memory import Memory, key
from efss_transfer.webdav.paths import encoded
from efss_transfer.webdav.session import ServerSession

_RECALCULATE: Final = "x-recalculate-hash"
_SET_TIME: Final = re.compile(rb"<lastmodified[^>]*>([0-9]{1,11})<")


class Properties:
    """Answers to PROPPATCH and PATCH. Its methods raise as `ServerSession.call` does."""

    def __init__(
        self, session: ServerSession, server: Listings, memory: Memory, dialect: Dialect
    ) -> None:
        self._session = session
        self._listings = server
        self._memory = memory
        self._dialect = dialect

    async def change(self, request: EngineRequest, reply: EngineReply) -> None:
        """Answer PROPPATCH, by which rclone sets a file's time."""
        body = await request.whole(LONGEST_REQUEST)
        call = Call("PROPPATCH", self._listings.target(request.path), XML, Held(body))
        async with self._session.call(call, key(request.path)) as answer:
            if answer.status not in (200, 207):
                raise await self._session.error(call, key(request.path), answer)
            said = await answer.text(LONGEST_REQUEST)
        self._memory.stored.pop(key(request.path))
        status = listings.outcome(said)
        if status == 200 and self._dialect.ignores_times and not await self._shows(body, request):
            status = 409  # rclone then sends the file again, with its time
        href = encoded(request.path)
        entry = (
            f"<d:response><d:href>{href}</d:href><d:propstat><d:prop/>"
            f"<d:status>HTTP/1.1 {status} Outcome</d:status></d:propstat></d:response>"
        )
        await reply.send(207, listings.OPENING + entry.encode("ascii") + listings.CLOSING, XML)

    async def _shows(self, body: bytes, request: EngineRequest) -> bool:
        """Return whether a file has the time that a PROPPATCH asked for."""
        wanted = _SET_TIME.search(body)
        found = await self._listings.one(request.path, folder=False) if wanted else None
        text = found.entry.get("getlastmodified") if found is not None else None
        return wanted is None or text == formatdate(int(wanted[1]), usegmt=True)

    async def calculate_hash(self, request: EngineRequest, reply: EngineReply) -> None:
        """Have Nextcloud calculate a file's hash: rclone asks for it where none is listed."""
        await request.whole(LONGEST_REQUEST)
        wanted = {_RECALCULATE: request.header(_RECALCULATE) or ""}
        call = Call("PATCH", self._listings.target(request.path), wanted, Held(b""))
        answer = await self._session.succeed(call, key(request.path))
        checksum = answer.header("oc-checksum")
        await reply.send(204, headers={"OC-Checksum": checksum} if checksum else {})
