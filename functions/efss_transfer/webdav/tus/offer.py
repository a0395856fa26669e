"""What a server says of tus, asked once by OPTIONS at the folder of its configured URL."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.session import Failed, Refused, ServerSession

VERSION: Final = "1.0.0"
_SECONDS: Final = 10.0


@dataclass(frozen=True)
class TusOffer:
    """Offer of a server that lets uploads be created.

    `largest` is the size of the largest upload that it takes, None if it does not say.
    """

    largest: int | None = None

    @classmethod
    def of(cls, answer: Answer) -> TusOffer | None:
        """Read an answer to OPTIONS; None if it offers no uploads."""
        if answer.status >= 300:
            return None
        versions = answer.header("tus-version") or answer.header("tus-resumable")
        if VERSION not in _listed(versions):
            return None
        if "creation" not in _listed(answer.header("tus-extension")):
            return None
        largest = (answer.header("tus-max-size") or "").strip()
        return cls(int(largest) if largest.isdecimal() else None)


class TusOffers:
    """Offer of one server, which `withdraw` ends."""

    def __init__(self, session: ServerSession, listings: Listings) -> None:
        self._session = session
        self._listings = listings
        self._asking = asyncio.Lock()
        self._is_asked = False
        self._offer: TusOffer | None = None

    async def get(self) -> TusOffer | None:
        """Return the offer; None if there is none."""
        async with self._asking:
            if not self._is_asked:
                self._offer = await self._asked()
                self._is_asked = True
        return self._offer

    def withdraw(self) -> None:
        """Use it no more."""
        self._offer, self._is_asked = None, True

    async def _asked(self) -> TusOffer | None:
        headers = {"Tus-Resumable": VERSION}
        call = Call("OPTIONS", self._listings.target((), folder=True), headers)
        try:
            async with asyncio.timeout(_SECONDS), self._session.call(call, "") as answer:
                return TusOffer.of(answer)
        except (Failed, Refused, NoAnswer, TimeoutError):
            self._session.record.succeed("")  # the upload itself is to tell what is wrong
            return None


def _listed(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",")]
