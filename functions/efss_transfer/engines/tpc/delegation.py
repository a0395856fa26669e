"""How the storage that copies signs in at the other one.

A storage that issues macaroons (dCache, XRootD, EOS, StoRM) is asked for one that allows only what
the copy needs, below its path, for the rest of the run. Any other gets the caller's credential.

A macaroon may allow less than was asked for: XRootD 5.5 issues one for metadata alone to a caller
that signs in with a macaroon. So one with which the first copy is refused is given up.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from efss_transfer.engines.third_party.ends import End
from efss_transfer.model.result import Side
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.session import Failed, Refused

_ACTIVITIES: Final = {Side.SOURCE: "DOWNLOAD", Side.DESTINATION: "UPLOAD"}
_HEADER: Final = "TransferHeaderAuthorization"
_TYPE: Final = "application/macaroon-request"
_MOST: Final = 1 << 16
_MARGIN_SECONDS: Final = 60
_LONGEST_SECONDS: Final = 86_400


class Delegation:
    """The headers for one run. `until` is its deadline, a time of `time.monotonic()`."""

    def __init__(self, until: float, keep_secret: Callable[[str], None]) -> None:
        self._until = until
        self._keep_secret = keep_secret
        self._macaroons: dict[Side, str | None] = {}
        self._proven: set[Side] = set()
        self._issued: set[str] = set()

    @property
    def has_macaroon(self) -> bool:
        """Whether copies signed in with a macaroon."""
        return bool(self._proven)

    def prove(self, side: Side, used: Mapping[str, str]) -> None:
        """Keep in mind that a copy succeeded with this header."""
        if used.get(_HEADER) in self._issued:
            self._proven.add(side)

    def give_up(self, side: Side, used: Mapping[str, str]) -> bool:
        """Use the caller's credential from now on, unless a copy succeeded with the macaroon.

        Returns whether that is another one than the header had that was used.
        """
        if side in self._proven:
            return False
        self._macaroons[side] = None
        return used.get(_HEADER) in self._issued

    async def headers(self, passive: End) -> dict[str, str]:
        """The header that carries the passive end's credential; none without a credential."""
        own = await passive.credential.header()
        if own is None:
            return {}
        if passive.side not in self._macaroons:
            self._macaroons[passive.side] = await self._asked(passive)
        macaroon = self._macaroons[passive.side]
        return {_HEADER: own if macaroon is None else f"Bearer {macaroon}"}

    async def _asked(self, end: End) -> str | None:
        left = self._until - time.monotonic() + _MARGIN_SECONDS
        seconds = int(min(left, _LONGEST_SECONDS)) if math.isfinite(left) else _LONGEST_SECONDS
        wish = {
            "caveats": [f"activity:{_ACTIVITIES[end.side]}"],
            "validity": f"PT{max(seconds, 1)}S",
        }
        target = end.listings.target(end.root[:-1] if end.side is Side.DESTINATION else end.root)
        call = Call("POST", target, {"Content-Type": _TYPE}, Held(json.dumps(wish).encode()))
        try:
            async with end.session.call(call, key(end.root)) as answer:
                if answer.status != 200:
                    return None
                found = json.loads(await answer.text(_MOST))
            macaroon = found["macaroon"]
        except (Failed, Refused, NoAnswer, ValueError, KeyError, TypeError):
            return None
        if not isinstance(macaroon, str) or not macaroon.isascii() or not macaroon.isprintable():
            return None
        self._keep_secret(macaroon)
        self._issued.add(f"Bearer {macaroon}")
        return macaroon
