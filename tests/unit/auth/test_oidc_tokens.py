"""Mode `oidc`: which tokens are accepted and which are refused. Signatures are real."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from efss_transfer.auth.authentication import (
    OidcAuthenticator,
)
from efss_transfer.model.errors import ConfigurationError
from support.forged_tokens import FORGED_TOKENS, es256, unusable_keys
from support.oidc_issuer import (
    AUDIENCE,
    Clock,
    Issuer,
    assert_refused,
    authenticator_for,
    bearer,
    jwk,
    segment,
)

# Accepted tokens


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_signed_token_names_the_caller(algorithm: str, issuer: Issuer, clock: Clock) -> None:
    assert authenticator_for(issuer, clock).caller(bearer(issuer.token(algorithm))) == "alice"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_key_without_optional_members_is_usable(
    algorithm: str, issuer: Issuer, clock: Clock
) -> None:
    secret = {"kty": "oct", "k": segment(b"s" * 64)}
    issuer.keys = [jwk(algorithm, kid=None, use=None, key_ops=None), jwk("ES384"), secret]
    token = issuer.token(algorithm, header={"kid": None})
    assert authenticator_for(issuer, clock).caller(bearer(token)) == "alice"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["others", AUDIENCE]},
        {"iat": None},
        {"nbf": int(time.time()) - 60},
        {"exp": time.time() + 3600.5},
        {"exp": int(time.time()) - 600},
        {"nbf": int(time.time()) + 600},
        {"iat": int(time.time()) + 600},
        {"scope": "transfer"},
        {"jti": "7", "azp": "x", "realm_access": {"roles": ["a"]}},
    ],
    ids=lambda claims: ",".join(claims),
)
def test_valid_claims_are_accepted(claims: dict[str, Any], issuer: Issuer, clock: Clock) -> None:
    # Ten minutes are within this leeway, but not within the default.
    lenient = authenticator_for(issuer, clock, leeway_seconds=3000)
    assert lenient.caller(bearer(issuer.token(**claims))) == "alice"


def test_one_matching_audience_is_enough(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock, audience=("one", "two"))
    assert site.caller(bearer(issuer.token(aud="two"))) == "alice"
    assert_refused(site, bearer(issuer.token()))


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
def test_access_token_types_are_accepted(kind: str | None, issuer: Issuer, clock: Clock) -> None:
    # PyJWT omits an empty type.
    token = issuer.token(header={"typ": kind or ""})
    assert authenticator_for(issuer, clock).caller(bearer(token)) == "alice"


@pytest.mark.parametrize("name", ["alice", "Alice Example", "a" * 256, "Zoë", "李", "*", "a/b"])
def test_caller_name_comes_from_the_configured_claim(
    name: str, issuer: Issuer, clock: Clock
) -> None:
    assert authenticator_for(issuer, clock).caller(bearer(issuer.token(sub=name))) == name
    site = authenticator_for(issuer, clock, caller_claim="preferred_username")
    assert site.caller(bearer(issuer.token(preferred_username=name, sub=None))) == name
    assert_refused(site, bearer(issuer.token()))


@pytest.mark.parametrize("scope", ["transfer", "openid transfer", "transfer email", "a transfer b"])
def test_required_scope_is_found_among_others(scope: str, issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock, required_scope="transfer")
    assert site.caller(bearer(issuer.token(scope=scope))) == "alice"


@pytest.mark.parametrize(
    "scope",
    [None, "", "transfers", "xtransfer", "Transfer", "a,transfer", "transfer\t", ["transfer"], 1],
)
def test_token_without_required_scope_is_refused(scope: Any, issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock, required_scope="transfer")
    assert_refused(site, bearer(issuer.token(scope=scope)))


@pytest.mark.parametrize("name", FORGED_TOKENS)
def test_forged_token_is_refused_without_a_reason(
    name: str, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issuer.keys += unusable_keys()
    site = authenticator_for(issuer, clock)
    token = FORGED_TOKENS[name](issuer)
    assert_refused(site, bearer(token))
    # The log says that a token was refused, and contains nothing from it.
    lines = [record for record in caplog.records if record.name.startswith("efss_transfer")]
    assert [(record.name, record.levelname) for record in lines] == [
        ("efss_transfer.auth.authentication", "INFO")
    ]
    text = lines[0].getMessage()
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 200
    for told in (*(part for part in token.split(".") if len(part) > 3), "alice", "admin"):
        assert told not in text.partition("(kid")[0]
    # The next valid token is still accepted.
    assert site.caller(bearer(issuer.token())) == "alice"


def test_log_has_the_reason_and_the_key_id(
    issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site = authenticator_for(issuer, clock)
    assert_refused(site, bearer(issuer.token(exp=1)))
    assert_refused(site, bearer(issuer.token(header={"kid": "x\r\n\x1b[31mü" + "y" * 100})))
    assert [
        record.getMessage() for record in caplog.records if "caller" in record.getMessage()
    ] == [
        "caller refused: ExpiredSignatureError (kid 'ES256')",
        f"caller refused: unknown key (kid 'x[31m{'y' * 59}')",
    ]


def test_only_configured_algorithms_are_accepted(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock, algorithms=("RS256",))
    assert site.caller(bearer(issuer.token("RS256"))) == "alice"
    for algorithm in ("PS256", "ES256", "EdDSA"):
        assert_refused(site, bearer(issuer.token(algorithm)))


def test_key_in_the_token_header_is_ignored(issuer: Issuer, other: Issuer, clock: Clock) -> None:
    other.keys = [jwk("ES256-attacker", kid="ES256")]
    brought = {
        "jwk": jwk("ES256-attacker"),
        "jku": f"{other.url}/keys",
        "x5u": f"{other.url}/keys",
        "x5c": ["AAAA"],
    }
    site = authenticator_for(issuer, clock)
    header = {"alg": "ES256", "kid": "ES256", **brought}
    assert_refused(site, bearer(es256(header, issuer.claims(), "ES256-attacker")))
    header["kid"] = "ES256-attacker"
    assert_refused(site, bearer(es256(header, issuer.claims(), "ES256-attacker")))
    assert site.caller(bearer(issuer.token(header=brought))) == "alice"
    assert other.asked == []


# Configuration


@pytest.mark.parametrize(
    "algorithms",
    [
        (),
        ("HS256",),
        ("HS384",),
        ("HS512",),
        ("none",),
        ("RS256", "HS256"),
        ("RS256", "none"),
        ("rs256",),
        ("ES256K",),
        ("",),
    ],
    ids=str,
)
def test_unsafe_algorithm_stops_the_start(
    algorithms: tuple[str, ...], issuer: Issuer, clock: Clock
) -> None:
    with pytest.raises(ConfigurationError):
        authenticator_for(issuer, clock, algorithms=algorithms)


@pytest.mark.parametrize("audience", [(), ("",), (AUDIENCE, "")], ids=str)
def test_missing_audience_stops_the_start(
    audience: tuple[str, ...], issuer: Issuer, clock: Clock
) -> None:
    with pytest.raises(ConfigurationError):
        authenticator_for(issuer, clock, audience=audience)


@pytest.mark.parametrize(
    ("member", "url"),
    [
        ("jwks_uri", "http://sso.example.org"),
        ("jwks_uri", "https://user:password@sso.example.org"),
        ("issuer", ""),
        ("issuer", "sso.example.org"),
        ("issuer", "//sso.example.org"),
        ("issuer", "http://sso.example.org"),
        ("issuer", "http://127.0.0.1.example.org"),
        ("issuer", "http://localhost.example.org"),
        ("issuer", "http://127.0.0.1@sso.example.org"),
        ("issuer", "http://10.0.0.1"),
        ("issuer", "http://169.254.169.254/"),
        ("issuer", "https://"),
        ("issuer", "https:///keys"),
        ("issuer", "https://user:password@sso.example.org"),
        ("issuer", "https://sso.example.org:99999"),
        ("issuer", "https://[::1"),
        ("issuer", "file:///etc/passwd"),
        ("issuer", "ftp://127.0.0.1/keys"),
    ],
)
def test_insecure_issuer_url_stops_the_start(
    member: str, url: str, issuer: Issuer, clock: Clock
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        authenticator_for(issuer, clock, **{member: url})
    assert member in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://sso.example.org/realms/research",
        "HTTPS://sso.example.org:8443",
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://[::1]:1",
    ],
)
def test_https_and_loopback_http_urls_are_allowed(url: str, clock: Clock) -> None:
    OidcAuthenticator(url, (AUDIENCE,), ("RS256",), clock=clock)
    OidcAuthenticator("issuer", (AUDIENCE,), ("RS256",), jwks_uri=url, clock=clock)
