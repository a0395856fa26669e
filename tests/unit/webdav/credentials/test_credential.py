"""When a token is renewed, and that it is renewed once for all who wait for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from efss_transfer.webdav.credentials.credential import (
    AccessToken,
    FixedCredential,
    NoToken,
    RenewedToken,
)
from efss_transfer.webdav.words import Words


class Issuer:
    """Issues tokens named by their number."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.asked = 0
        self.fails = False

    async def fetch(self) -> AccessToken:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fails:
            raise NoToken(Words(503), is_final=False)
        return AccessToken(f"{self.asked}", self.seconds)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


def header(token: RenewedToken) -> str | None:
    return asyncio.run(token.header())


def test_fixed_credential_has_no_other() -> None:
    assert asyncio.run(FixedCredential("Basic x").header()) == "Basic x"
    assert not asyncio.run(FixedCredential("Basic x").renew("Basic x"))


@pytest.mark.parametrize(("seconds", "until"), [(30, 20), (300, 240)])
def test_token_is_renewed_before_it_ends(seconds: float, until: float, clock: Clock) -> None:
    token = RenewedToken(Issuer(seconds).fetch)
    assert header(token) == "Bearer 1"
    clock.now += until - 0.1
    assert header(token) == "Bearer 1"
    clock.now += 0.2
    assert header(token) == "Bearer 2"


def test_all_who_wait_get_one_token(clock: Clock) -> None:
    issuer = Issuer(None)
    token = RenewedToken(issuer.fetch)

    async def many() -> tuple[set[str | None], list[bool], str | None]:
        first = set(await asyncio.gather(*(token.header() for _ in range(20))))
        renewed = await asyncio.gather(*(token.renew("Bearer 1") for _ in range(20)))
        return first, renewed, await token.header()

    assert asyncio.run(many()) == ({"Bearer 1"}, [True] * 20, "Bearer 2")
    assert issuer.asked == 2


def test_old_token_is_used_while_it_is_good_and_no_other_can_be_had(clock: Clock) -> None:
    issuer = Issuer(30)
    token = RenewedToken(issuer.fetch)
    assert header(token) == "Bearer 1"
    issuer.fails = True
    clock.now += 21
    assert header(token) == header(token) == "Bearer 1"
    assert issuer.asked == 2  # it is not asked again at once
    clock.now += 10
    with pytest.raises(NoToken):
        header(token)
    issuer.fails = False
    assert header(token) == "Bearer 4"


def test_secret_is_not_shown() -> None:
    assert "canary" not in repr(AccessToken("canary"))
