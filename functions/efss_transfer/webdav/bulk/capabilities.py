"""What a Nextcloud says that it can do, asked once and with the credential.

Without a credential it tells little.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.paths import Segments, encoded
from efss_transfer.webdav.recognition import member
from efss_transfer.webdav.session import Failed, Refused, ServerSession

_PATH: Final = "/ocs/v2.php/cloud/capabilities?format=json"
_LONGEST: Final = 1 << 20
_SECONDS: Final = 10.0


class Capabilities:
    """Capabilities of one server."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._asking = asyncio.Lock()
        self._said: Any = None
        self._is_asked = False

    async def get(self, site: Segments, *names: str) -> Any:
        """Return one of them, None if it is missing. `site` is the path of the server's site."""
        async with self._asking:
            if not self._is_asked:
                self._said = await self._asked(site)
                self._is_asked = True
        return member(self._said, "ocs", "data", "capabilities", *names)

    async def _asked(self, site: Segments) -> Any:
        call = Call("GET", encoded(site) + _PATH, {"OCS-APIRequest": "true"})
        try:
            async with asyncio.timeout(_SECONDS), self._session.call(call, "") as answer:
                if answer.status == 200:
                    return json.loads(await answer.text(_LONGEST))
        except (Failed, Refused, NoAnswer, TimeoutError, ValueError, RecursionError):
            self._session.record.succeed("")  # the uploads tell what is wrong
        return None
