"""The value of the Authorization header: fixed, or a token that is renewed before it ends."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from efss_transfer.webdav.words import Words

# Of a token's lifetime, what is left when it is renewed, and the most in seconds.
_LEFT: Final = 1 / 3
_MOST_LEFT: Final = 60.0
# Pause in seconds after a renewal in time that failed, while the old token is still good.
_PAUSE: Final = 2.0


def basic(user: str, password: str) -> str:
    """Encode a user and a password as the value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


class NoToken(Exception):
    """No token could be had. `is_final` says that asking again cannot help."""

    def __init__(self, said: Words, *, is_final: bool) -> None:
        super().__init__(said.message)
        self.said = said
        self.is_final = is_final


@dataclass(frozen=True)
class AccessToken:
    """An access token, and for how many seconds it is valid; None if that was not said."""

    value: str = field(repr=False)
    seconds: float | None = None


class Credential(Protocol):
    """What a gateway sends to its server, and nowhere else."""

    async def header(self) -> str | None:
        """Return the value of Authorization, renewed if it ends soon. Raises NoToken."""

    async def renew(self, rejected: str | None, /) -> bool:
        """Replace a value that the server rejected, once for all that ask. Raises NoToken.

        Returns whether there is another one now.
        """


class FixedCredential:
    """A credential that stays as it is: user and password, a token, or none."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    async def header(self) -> str | None:
        """Return the value."""
        return self._value

    async def renew(self, _: str | None, /) -> bool:
        """Return that there is no other."""
        return False


class RenewedToken:
    """A bearer token that is fetched when it is first needed, and again before it ends."""

    def __init__(self, fetch: Callable[[], Awaitable[AccessToken]]) -> None:
        self._fetch = fetch
        self._renewing = asyncio.Lock()
        self._header: str | None = None
        self._renew_at = self._ends_at = 0.0

    async def header(self) -> str | None:
        """Return the value of Authorization, renewed if it ends soon. Raises NoToken."""
        if time.monotonic() >= self._renew_at:
            async with self._renewing:
                if time.monotonic() >= self._renew_at:
                    await self._renew_in_time()
        return self._header

    async def renew(self, rejected: str | None, /) -> bool:
        """Fetch another token if this is still the one that was rejected. Raises NoToken."""
        async with self._renewing:
            if self._header == rejected:
                await self._replace()
        return self._header != rejected

    async def _renew_in_time(self) -> None:
        try:
            await self._replace()
        except NoToken:
            now = time.monotonic()
            if self._header is None or now >= self._ends_at:
                raise
            self._renew_at = min(now + _PAUSE, self._ends_at)

    async def _replace(self) -> None:
        # Its life begins when it is asked for, or earlier.
        asked = time.monotonic()
        token = await self._fetch()
        self._header = f"Bearer {token.value}"
        if token.seconds is None:
            self._renew_at = self._ends_at = float("inf")
        else:
            self._ends_at = asked + token.seconds
            self._renew_at = self._ends_at - min(token.seconds * _LEFT, _MOST_LEFT)
