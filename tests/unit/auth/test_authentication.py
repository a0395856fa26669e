"""Bearer tokens: the Authorization header, and the modes `none` and `tokens`."""

from __future__ import annotations

import hmac
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from efss_transfer.auth.authentication import (
    MISSING,
    REFUSED,
    NoAuthentication,
    Token,
    TokenAuthenticator,
)
from efss_transfer.model.errors import ConfigurationError, Unauthenticated
from support.forged_tokens import INVALID_HEADERS, SECRET
from support.oidc_issuer import (
    Clock,
    Issuer,
    assert_refused,
    authenticator_for,
    bearer,
    segment,
    sha256,
)

# Mode `none`


@pytest.mark.parametrize("authorization", [None, "", "Bearer x", "Basic x", "\r\n", "ü" * 99_999])
def test_mode_none_accepts_every_header_as_anonymous(authorization: str | None) -> None:
    assert NoAuthentication().caller(authorization) == "anonymous"


# The Authorization header

TOKENS = TokenAuthenticator([Token("alice", sha256(SECRET))])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer  "])
def test_bearer_scheme_is_case_insensitive(scheme: str) -> None:
    assert TOKENS.caller(f"{scheme} {SECRET}") == "alice"


@pytest.mark.parametrize("authorization", [None, ""])
def test_missing_token_asks_for_one(
    authorization: str | None, issuer: Issuer, clock: Clock
) -> None:
    for authenticator in (TOKENS, authenticator_for(issuer, clock)):
        with pytest.raises(Unauthenticated) as caught:
            authenticator.caller(authorization)
        assert caught.value.args == (MISSING,)
    assert issuer.asked == []


@pytest.mark.parametrize("name", INVALID_HEADERS)
def test_header_other_than_one_bearer_token_is_refused(
    name: str, issuer: Issuer, clock: Clock
) -> None:
    assert_refused(TOKENS, INVALID_HEADERS[name])
    assert_refused(authenticator_for(issuer, clock), INVALID_HEADERS[name])
    assert issuer.asked == []


def test_token_length_is_limited_to_16_kib() -> None:
    long = "a" * 16 * 1024
    tokens = TokenAuthenticator([Token("alice", sha256(long)), Token("alice", sha256(long + "a"))])
    assert tokens.caller(bearer(long)) == "alice"
    assert_refused(tokens, bearer(long + "a"))


# Mode `tokens`


def test_caller_may_have_several_tokens() -> None:
    entries = [
        Token("alice", sha256("alice-old"), datetime.now(UTC) + timedelta(days=1)),
        Token("alice", sha256("alice-new")),
        Token("bob", sha256("bob").upper()),
    ]
    tokens = TokenAuthenticator(entries)
    assert [tokens.caller(bearer(token)) for token in ("alice-old", "alice-new", "bob")] == [
        "alice",
        "alice",
        "bob",
    ]


@pytest.mark.parametrize(
    "token",
    ["x", SECRET[:-1], SECRET[1:], SECRET.upper(), sha256(SECRET), "0" * 64],
    ids=["another", "cut", "cut in front", "another case", "its hash", "zeros"],
)
def test_unlisted_token_is_refused(token: str) -> None:
    assert_refused(TOKENS, bearer(token))


def test_empty_token_list_accepts_no_token() -> None:
    assert_refused(TokenAuthenticator([]), bearer(SECRET))


def test_expired_token_is_refused_in_any_time_zone() -> None:
    def expiring(expires: datetime) -> TokenAuthenticator:
        return TokenAuthenticator([Token("alice", sha256(SECRET), expires)])

    now = datetime.now(UTC)
    far = timezone_of("+14:00")
    assert expiring(now + timedelta(hours=1)).caller(bearer(SECRET)) == "alice"
    assert expiring((now + timedelta(hours=1)).astimezone(far)).caller(bearer(SECRET)) == "alice"
    for expires in (now, now - timedelta(days=999), (now - timedelta(hours=1)).astimezone(far)):
        assert_refused(expiring(expires), bearer(SECRET))


def timezone_of(offset: str) -> Any:
    return datetime.fromisoformat(f"2026-11-22T16:00:00{offset}").tzinfo


def test_expired_token_leaves_the_callers_other_tokens_valid() -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    tokens = TokenAuthenticator(
        [Token("alice", sha256("old"), past), Token("alice", sha256("new"))]
    )
    assert_refused(tokens, bearer("old"))
    assert tokens.caller(bearer("new")) == "alice"


def test_every_entry_is_compared_whether_or_not_one_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    tokens = TokenAuthenticator(
        [Token(f"caller-{n}", sha256(f"token-{n}"), past if n == 3 else None) for n in range(7)]
    )
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    accepted = []
    for presented in ("token-0", "token-3", "token-6", "token-7", "x", "a" * 16_000):
        compared.clear()
        with suppress(Unauthenticated):
            accepted.append(tokens.caller(bearer(presented)))
        assert compared == [(32, 32)] * 7
    assert accepted == ["caller-0", "caller-6"]


@pytest.mark.parametrize(
    "entries",
    [
        [Token("alice", sha256(SECRET)), Token("bob", sha256(SECRET))],
        [Token("alice", sha256(SECRET)), Token("alice", sha256(SECRET).upper())],
        [Token("alice", sha256(SECRET), datetime(2099, 1, 1))],
    ],
    ids=["two callers' token", "twice the same", "no time zone"],
)
def test_duplicate_token_or_time_without_zone_stops_the_start(entries: list[Token]) -> None:
    with pytest.raises(ConfigurationError):
        TokenAuthenticator(entries)


# Random headers

_TEXT = st.text(max_size=60)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_HEADER = st.fixed_dictionaries(
    {"alg": st.sampled_from(["ES256", "RS256", "EdDSA", "HS256", "none"]) | _JSON},
    optional={
        "kid": st.sampled_from(["ES256", "RS256", "EdDSA", "x"]) | _JSON,
        "typ": st.just("JWT") | _JSON,
        "crit": _JSON,
        "b64": _JSON,
    },
)
_SEGMENT = st.binary(max_size=80).map(segment)


def _segment_of(content: Any) -> str:
    return segment(json.dumps(content).encode())


_MADE = st.builds(
    ".".join,
    st.tuples(
        _HEADER.map(_segment_of) | _JSON.map(_segment_of) | _SEGMENT,
        _JSON.map(_segment_of) | _SEGMENT,
        st.sampled_from(["", segment(bytes(64)), segment(bytes(256))]) | _SEGMENT,
    ),
)


def _changed(token: str, place: int, removed: int, inserted: str) -> str:
    place %= len(token)
    return token[:place] + inserted + token[place + removed :]


def test_random_headers_are_refused_without_other_errors(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    good = issuer.token()
    changed = st.builds(
        _changed,
        st.just(good),
        st.integers(0, 1000),
        st.integers(0, 3),
        st.text("AZaz09-_.=+/ ", max_size=3) | st.characters(),
    )
    accepted = 0
    told = set()

    @settings(
        max_examples=2_000,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.one_of(
            st.text(),
            _TEXT.map(bearer),
            _MADE.map(bearer),
            changed.map(bearer),
            st.builds("{} {}".format, _TEXT, st.just(good)),
        )
    )
    def send(authorization: str) -> None:
        nonlocal accepted
        try:
            caller = site.caller(authorization)
        except Unauthenticated as error:
            told.add(str(error))
        else:
            # A change that leaves the token as it was, such as one by nothing.
            assert caller == "alice"
            accepted += 1
        with pytest.raises(Unauthenticated):
            TOKENS.caller(authorization)

    send()
    assert told <= {REFUSED, MISSING}
    assert accepted < 200
    assert site.caller(bearer(good)) == "alice"
