"""The issuer's keys: when they are fetched, and how long they are used."""

from __future__ import annotations

import http.server
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from efss_transfer.model.errors import Busy, Unauthenticated
from support.oidc_issuer import (
    DESCRIPTION,
    Clock,
    Issuer,
    assert_refused,
    authenticator_for,
    bearer,
    jwk,
    unknown_key_token,
)

# The issuer's keys.


def test_keys_are_fetched_when_first_needed(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    assert issuer.asked == []
    site.caller(bearer(issuer.token()))
    site.caller(bearer(issuer.token("RS256")))
    assert issuer.asked == [DESCRIPTION, "/keys"]


def test_configured_jwks_uri_skips_the_metadata(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock, jwks_uri=f"{issuer.url}/keys?realm=research")
    assert site.caller(bearer(issuer.token())) == "alice"
    assert issuer.asked == ["/keys?realm=research"]


def test_metadata_is_below_the_issuers_path(issuer: Issuer, clock: Clock) -> None:
    for name in (f"{issuer.url}/realms/research", f"{issuer.url}/realms/research/"):
        issuer.asked.clear()
        issuer.description = {"issuer": name}
        issuer.instead = lambda handler: (
            issuer.send(handler, {"issuer": issuer.description["issuer"], "jwks_uri": issuer.url})
            if "well-known" in handler.path
            else issuer.send(handler, {"keys": issuer.keys})
        )
        site = authenticator_for(issuer, clock, issuer=name)
        assert site.caller(bearer(issuer.token(iss=name))) == "alice"
        assert issuer.asked[0] == f"/realms/research{DESCRIPTION}"


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        (None, 300),
        ("no-store", 300),
        ("max-age", 300),
        ("max-age=x", 300),
        ("x-max-age=7", 300),
        ("max-age=0", 60),
        ("max-age=59", 60),
        ("public, max-age=1000, must-revalidate", 1000),
        ('Max-Age="1000"', 1000),
        ("s-maxage=9,max-age=1000", 1000),
        ("max-age=3600", 3600),
        ("max-age=86400", 3600),
        ("max-age=999999999999999999999999", 3600),
    ],
)
def test_keys_stay_fresh_for_max_age_within_bounds(
    cache_control: str | None, seconds: int, issuer: Issuer, clock: Clock
) -> None:
    issuer.cache_control = cache_control
    site = authenticator_for(issuer, clock)
    token = bearer(issuer.token())
    site.caller(token)
    clock.now += seconds - 1
    site.caller(token)
    assert issuer.fetches == 1
    clock.now += 2
    site.caller(token)
    assert issuer.fetches == 2


def test_withdrawn_key_is_refused_once_keys_are_stale(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    token = bearer(issuer.token())
    assert site.caller(token) == "alice"
    issuer.keys = [jwk("RS256")]
    clock.now += 301
    assert_refused(site, token)
    # The same holds when the issuer withdraws all its keys.
    issuer.keys = []
    clock.now += 301
    assert_refused(site, bearer(issuer.token("RS256")))


def test_new_key_is_accepted_at_the_next_request(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    assert site.caller(bearer(issuer.token())) == "alice"
    for name in ("ES256-new", "ES256-newer", "ES256-newest"):
        issuer.keys.append(jwk(name))
        assert site.caller(bearer(issuer.token(name))) == "alice"
    assert issuer.fetches == 4


def test_many_unknown_keys_cause_one_fetch(issuer: Issuer, clock: Clock) -> None:
    cold, warm = authenticator_for(issuer, clock), authenticator_for(issuer, clock)
    for number in range(1_000):
        assert_refused(cold, unknown_key_token(issuer, number))
    assert issuer.fetches == 1
    assert warm.caller(bearer(issuer.token())) == "alice"
    assert issuer.fetches == 2
    for number in range(1_000):
        assert_refused(warm, unknown_key_token(issuer, number))
    assert issuer.fetches == 3


def test_many_unknown_keys_delay_a_new_key_by_one_pause(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    for number in range(100):
        assert_refused(site, unknown_key_token(issuer, number))
        clock.now += 0.5
    assert issuer.fetches == 5
    issuer.keys.append(jwk("ES256-new"))
    for number in range(18):
        assert_refused(site, unknown_key_token(issuer, number))
        clock.now += 0.5
    clock.now += 1
    assert site.caller(bearer(issuer.token("ES256-new"))) == "alice"


def test_simultaneous_unknown_keys_cause_one_fetch(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)

    def call(number: int) -> None:
        with pytest.raises((Unauthenticated, Busy)):
            site.caller(unknown_key_token(issuer, number))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(call, range(500)))
    assert issuer.fetches == 1


def test_simultaneous_callers_wait_for_one_fetch(issuer: Issuer, clock: Clock) -> None:
    asked, go_on = threading.Event(), threading.Event()
    plain = issuer.send

    def held(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.set()
        assert go_on.wait(60)
        plain(handler, {"keys": issuer.keys})

    issuer.instead = held
    site = authenticator_for(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    token = bearer(issuer.token())
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(site.caller, token) for _ in range(12)]
        assert asked.wait(60)
        assert not any(call.done() for call in calls)
        go_on.set()
        assert {call.result(60) for call in calls} == {"alice"}
    assert issuer.fetches == 1


def test_keys_fetched_meanwhile_are_not_fetched_again(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    token = bearer(issuer.token())
    site.caller(token)
    clock.now += 301
    # Another caller refreshes the keys after this one has found them stale.
    clock.meanwhile.append(lambda: site.caller(token))
    assert site.caller(token) == "alice"
    assert issuer.fetches == 2


def test_at_most_16_callers_wait_for_a_slow_issuer(issuer: Issuer, clock: Clock) -> None:
    go_on = threading.Event()
    plain = issuer.send

    def held(handler: http.server.BaseHTTPRequestHandler) -> None:
        assert go_on.wait(60)
        plain(handler, {"keys": issuer.keys})

    issuer.instead = held
    site = authenticator_for(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    token = bearer(issuer.token())
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(site.caller, token) for _ in range(40)]
        try:
            # 16 wait, and the others are told to come again, while nothing is answered.
            sent_away = [call for _, call in zip(range(24), as_completed(calls, 50), strict=False)]
            assert all(isinstance(call.exception(), Busy) for call in sent_away)
            assert sum(not call.done() for call in calls) == 16
        finally:
            go_on.set()
        outcomes = [call.exception(60) for call in calls]
    assert sum(outcome is None for outcome in outcomes) == 16
    assert issuer.fetches == 1
