"""Who calls, and that nobody else is believed: real signatures, and a real issuer.

The issuer is an HTTP server on loopback; the clock by which its keys age is the test's own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import ipaddress
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from efss_transfer.auth import oidc
from efss_transfer.auth.authentication import (
    MISSING,
    REFUSED,
    Authenticator,
    NoAuthentication,
    OidcAuthenticator,
    Token,
    TokenAuthenticator,
)
from efss_transfer.model.errors import Busy, ConfigurationError, Unauthenticated
from support.http_servers import misbehaving
from support.storages import serving

AUDIENCE = "efss-transfer"
LOOPBACK = ipaddress.ip_address("127.0.0.1")
SECRET_HEADERS = ("Authorization", "Cookie")
DESCRIPTION = "/.well-known/openid-configuration"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is busy with other tests must not look like an issuer that is slow."""
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 60.0)
    yield
    wait_for_fetches()


def wait_for_fetches() -> None:
    """Until no fetch is under way, those included for which nobody waits any longer."""
    for thread in threading.enumerate():
        if thread.name == "issuer-keys":
            thread.join(60)
            assert not thread.is_alive()


# The keys. RSA's take a while to make, so each is made once.


@cache
def private(name: str) -> Any:
    """A private key of that name; how the name begins says of which kind."""
    if name.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    if name.startswith("ES256"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("ES384"):
        return ec.generate_private_key(ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


def jwk(name: str, **members: Any) -> dict[str, Any]:
    """The public half, as an issuer publishes it. A member that is None is left out."""
    algorithm: Any = jwt.get_algorithm_by_name(name.partition("-")[0])
    public = algorithm.to_jwk(private(name).public_key(), as_dict=True)
    described = {**public, "kid": name, "use": "sig", **members}
    return {member: value for member, value in described.items() if value is not None}


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: Any, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token as no library would make it."""
    body = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(claims).encode())}"
    return f"{body}.{segment(sign(body.encode()))}"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 5_000.0
        self.meanwhile: list[Callable[[], object]] = []

    def __call__(self) -> float:
        """The time; what others do meanwhile happens before that."""
        while self.meanwhile:
            self.meanwhile.pop()()
        return self.now


class Issuer:
    """An issuer of tokens: what it publishes, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[Any] = [jwk(name) for name in ("RS256", "PS256", "ES256", "EdDSA")]
        self.cache_control: str | None = None
        self.description: dict[str, Any] = {}
        self.instead: Callable[[http.server.BaseHTTPRequestHandler], None] | None = None
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []

    @property
    def fetches(self) -> int:
        """How often it was asked for its keys."""
        return self.asked.count("/keys")

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        self.headers.append(dict(handler.headers.items()))
        if self.instead is not None:
            self.instead(handler)
        elif handler.path == DESCRIPTION:
            known = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            self.send(handler, {**known, **self.description})
        else:
            self.send(handler, {"keys": self.keys})

    def send(self, handler: http.server.BaseHTTPRequestHandler, document: Any) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        if self.cache_control is not None:
            handler.send_header("Cache-Control", self.cache_control)
        handler.end_headers()
        handler.wfile.write(body)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims that are in order; one that is None is left out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3600}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, key: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of its own; a header's member that is None is left out."""
        members = {"kid": key} | (header or {})
        return jwt.encode(
            self.claims(**claims),
            private(key),
            algorithm=key.partition("-")[0],
            headers={name: value for name, value in members.items() if value is not None},
        )


class Server:
    """A server that answers as the issuer of the test that runs."""

    def __init__(self) -> None:
        self.issuer = Issuer()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.issuer.answer(handler)


@pytest.fixture(scope="module")
def _servers() -> Iterator[list[tuple[Server, str]]]:
    """Two, for all tests: to stop one takes half a second."""
    one, two = Server(), Server()
    with misbehaving(one.answer) as url, misbehaving(two.answer) as other_url:
        yield [(one, url), (two, other_url)]


def _at(server: Server, url: str) -> Issuer:
    server.issuer = Issuer()
    server.issuer.url = url
    return server.issuer


@pytest.fixture
def issuer(_servers: list[tuple[Server, str]]) -> Issuer:
    return _at(*_servers[0])


@pytest.fixture
def other(_servers: list[tuple[Server, str]]) -> Issuer:
    """Another server, which nobody has a reason to ask."""
    return _at(*_servers[1])


@pytest.fixture
def clock() -> Clock:
    return Clock()


def trusting(issuer: Issuer, clock: Callable[[], float], /, **changes: Any) -> OidcAuthenticator:
    """A site that believes this issuer."""
    settings: dict[str, Any] = {
        "issuer": issuer.url,
        "audience": (AUDIENCE,),
        "algorithms": ("RS256", "PS256", "ES256", "EdDSA"),
        "clock": clock,
    }
    return OidcAuthenticator(**(settings | changes))


def bearer(token: str) -> str:
    return f"Bearer {token}"


def assert_refused(authenticator: Authenticator, authorization: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        authenticator.caller(authorization)
    assert caught.value.args == (REFUSED,)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# Without any: mode "none".


@pytest.mark.parametrize("authorization", [None, "", "Bearer x", "Basic x", "\r\n", "ü" * 99_999])
def test_where_nobody_is_asked_everybody_is_anonymous(authorization: str | None) -> None:
    assert NoAuthentication().caller(authorization) == "anonymous"


# The header.

SECRET = "0123456789abcdef.-_~+/0123456789ABCDEF=="
LISTED = TokenAuthenticator([Token("alice", sha256(SECRET))])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer  "])
def test_the_scheme_is_written_as_one_likes(scheme: str) -> None:
    assert LISTED.caller(f"{scheme} {SECRET}") == "alice"


@pytest.mark.parametrize("authorization", [None, ""])
def test_who_sends_no_token_is_told_to_send_one(
    authorization: str | None, issuer: Issuer, clock: Clock
) -> None:
    for authenticator in (LISTED, trusting(issuer, clock)):
        with pytest.raises(Unauthenticated) as caught:
            authenticator.caller(authorization)
        assert caught.value.args == (MISSING,)
    assert issuer.asked == []


ODD_HEADERS = {
    "the token alone": SECRET,
    "the scheme alone": "Bearer",
    "the scheme and a space": "Bearer ",
    "spaces alone": "   ",
    "Basic": f"Basic {base64.b64encode(b'alice:' + SECRET.encode()).decode()}",
    "another scheme": f"DPoP {SECRET}",
    "a scheme that begins like it": f"BearerToken {SECRET}",
    "a scheme that ends like it": f"XBearer {SECRET}",
    "no space": f"Bearer{SECRET}",
    "a tab": f"Bearer\t{SECRET}",
    "a space before": f" Bearer {SECRET}",
    "a space behind": f"Bearer {SECRET} ",
    "a no-break space": f"Bearer\u00a0{SECRET}",
    "two tokens": f"Bearer {SECRET} {SECRET}",
    "two tokens and a comma": f"Bearer {SECRET}, {SECRET}",
    "two headers in one": f"Bearer {SECRET},Bearer {SECRET}",
    "two headers in one, the other first": f"Basic x, Bearer {SECRET}",
    "a parameter": f'Bearer {SECRET}, realm="x"',
    "in quotes": f'Bearer "{SECRET}"',
    "a line's end": f"Bearer {SECRET}\n",
    "another line's end": f"Bearer {SECRET}\r",
    "another header": f"Bearer {SECRET}\r\nX-Caller: admin",
    "another line before": f"x\nBearer {SECRET}",
    "a null": f"Bearer {SECRET}\0",
    "a delete": f"Bearer {SECRET}\x7f",
    "letters of elsewhere": f"Bearer {SECRET}ü",
    "digits of elsewhere": "Bearer ٠١٢٣",
    "wide letters": "Bearer \uff21",
    "half a character": "Bearer \ud800",
    "equal signs first": f"Bearer =={SECRET}",
    "equal signs alone": "Bearer ==",
    "equal signs within": "Bearer a=b",
    "the token, percent-encoded": "Bearer 0123%2E",
    "16 KiB and one": "Bearer " + "a" * (16 * 1024 + 1),
    "a great deal": "Bearer " + "a" * 10_000_000,
    "a great many spaces": "Bearer" + " " * 1_000_000,
    "a great many equal signs": "Bearer a" + "=" * 16_000 + "!",
}


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_what_is_not_one_bearer_token_is_refused(name: str, issuer: Issuer, clock: Clock) -> None:
    assert_refused(LISTED, ODD_HEADERS[name])
    assert_refused(trusting(issuer, clock), ODD_HEADERS[name])
    assert issuer.asked == []


def test_a_token_may_have_16_kib() -> None:
    long = "a" * 16 * 1024
    tokens = TokenAuthenticator([Token("alice", sha256(long)), Token("alice", sha256(long + "a"))])
    assert tokens.caller(bearer(long)) == "alice"
    assert_refused(tokens, bearer(long + "a"))


# Mode "tokens".


def test_each_token_is_its_callers_and_a_caller_may_have_several() -> None:
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
def test_a_token_that_is_not_listed_is_refused(token: str) -> None:
    assert_refused(LISTED, bearer(token))


def test_where_no_token_is_listed_none_is_accepted() -> None:
    assert_refused(TokenAuthenticator([]), bearer(SECRET))


def test_a_token_ends_when_it_expires() -> None:
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


def test_an_expired_token_does_not_end_the_callers_others() -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    tokens = TokenAuthenticator(
        [Token("alice", sha256("old"), past), Token("alice", sha256("new"))]
    )
    assert_refused(tokens, bearer("old"))
    assert tokens.caller(bearer("new")) == "alice"


def test_as_much_is_compared_whichever_token_matches_and_if_none_does(
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
def test_entries_that_mean_nothing_for_certain_stop_the_start(entries: list[Token]) -> None:
    with pytest.raises(ConfigurationError):
        TokenAuthenticator(entries)


# Mode "oidc": what is believed.


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_token_that_the_issuer_signed_names_the_caller(
    algorithm: str, issuer: Issuer, clock: Clock
) -> None:
    assert trusting(issuer, clock).caller(bearer(issuer.token(algorithm))) == "alice"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_key_needs_to_say_no_more_than_what_it_is(
    algorithm: str, issuer: Issuer, clock: Clock
) -> None:
    secret = {"kty": "oct", "k": segment(b"s" * 64)}
    issuer.keys = [jwk(algorithm, kid=None, use=None, key_ops=None), jwk("ES384"), secret]
    token = issuer.token(algorithm, header={"kid": None})
    assert trusting(issuer, clock).caller(bearer(token)) == "alice"


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
def test_claims_that_are_in_order_are_accepted(
    claims: dict[str, Any], issuer: Issuer, clock: Clock
) -> None:
    # Times of ten minutes ago or ahead are within this leeway, and not within the usual one.
    lenient = trusting(issuer, clock, leeway_seconds=3000)
    assert lenient.caller(bearer(issuer.token(**claims))) == "alice"


def test_one_of_several_audiences_is_enough(issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock, audience=("one", "two"))
    assert site.caller(bearer(issuer.token(aud="two"))) == "alice"
    assert_refused(site, bearer(issuer.token()))


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
def test_types_that_an_access_token_has_are_accepted(
    kind: str | None, issuer: Issuer, clock: Clock
) -> None:
    # An empty type is how PyJWT is told to leave it out.
    token = issuer.token(header={"typ": kind or ""})
    assert trusting(issuer, clock).caller(bearer(token)) == "alice"


@pytest.mark.parametrize("name", ["alice", "Alice Example", "a" * 256, "Zoë", "李", "*", "a/b"])
def test_the_callers_name_is_the_claim_that_the_site_chose(
    name: str, issuer: Issuer, clock: Clock
) -> None:
    assert trusting(issuer, clock).caller(bearer(issuer.token(sub=name))) == name
    site = trusting(issuer, clock, caller_claim="preferred_username")
    assert site.caller(bearer(issuer.token(preferred_username=name, sub=None))) == name
    assert_refused(site, bearer(issuer.token()))


@pytest.mark.parametrize("scope", ["transfer", "openid transfer", "transfer email", "a transfer b"])
def test_a_scope_that_is_required_is_looked_for(scope: str, issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock, required_scope="transfer")
    assert site.caller(bearer(issuer.token(scope=scope))) == "alice"


@pytest.mark.parametrize(
    "scope",
    [None, "", "transfers", "xtransfer", "Transfer", "a,transfer", "transfer\t", ["transfer"], 1],
)
def test_without_the_scope_that_is_required_nobody_comes_in(
    scope: Any, issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock, required_scope="transfer")
    assert_refused(site, bearer(issuer.token(scope=scope)))


# Mode "oidc": what is not.


def tampered(token: str, **changes: Any) -> str:
    """The same header and signature around other claims."""
    header, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{header}.{segment(json.dumps(claims | changes).encode())}.{signature}"


def by_hmac(issuer: Issuer, key: str, secret: bytes) -> str:
    """Signed with what everybody knows, in the hope that it is taken for a secret."""
    return signed(
        {"alg": "HS256", "typ": "JWT", "kid": key},
        issuer.claims(),
        lambda body: hmac.new(secret, body, "sha256").digest(),
    )


def pem(key: str) -> bytes:
    return bytes(
        private(key)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def es256(header: Any, claims: Any, key: str = "ES256") -> str:
    """With a true signature, whatever header and claims are."""
    return signed(
        header, claims, lambda body: jwt.get_algorithm_by_name("ES256").sign(body, private(key))
    )


@cache
def short_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what is refused


Forger = Callable[[Issuer], str]


def unsigned(algorithm: object) -> Forger:
    """Without a signature, because the algorithm wants none."""
    return lambda issuer: signed({"alg": algorithm, "kid": "ES256"}, issuer.claims(), lambda _: b"")


def saying(**members: object) -> Forger:
    """With a true signature below a header that is not in order."""
    return lambda issuer: es256({"alg": "ES256", "kid": "ES256"} | members, issuer.claims())


def claiming(**changes: Any) -> Forger:
    """With a true signature below claims that are not in order."""
    return lambda issuer: issuer.token(**changes)


NO_ALGORITHMS: list[Any] = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    "",
    None,
    False,
    ["none"],
    {},
    0,
]
ODD_ALGORITHMS: list[Any] = [
    "none",
    "es256",
    "ES256 ",
    "ES521",
    "ES256K",
    ["ES256"],
    {"ES256": 1},
    None,
]
ODD_KEY_NAMES: list[Any] = [
    "unknown",
    "",
    "es256",
    "ES256\0",
    "../../../../dev/null",
    "/etc/passwd",
    "..%2fkeys",
    "http://127.0.0.1/keys",
    "ES256' OR '1'='1",
    "|id",
    "a\r\nINFO root: caller alice",
    "\ud800",
    "k" * 9_000,
    None,
    7,
    ["ES256"],
    {"kid": "ES256"},
]
ODD_TYPES: list[Any] = ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "", None, 1, ["JWT"]]
ODD_MEMBERS: list[dict[str, Any]] = [
    {"crit": ["exp"], "exp": 1},
    {"crit": ["b64"], "b64": True},
    {"crit": ["b64"], "b64": False},
    {"b64": False},
    {"crit": []},
    {"crit": None},
    {"crit": "b64"},
]
ODD_CLAIMS: list[dict[str, Any]] = [
    {"exp": int(time.time()) - 600},
    {"exp": 0},
    {"exp": -1},
    {"exp": None},
    {"exp": "9999999999"},
    {"exp": True},
    {"exp": "soon"},
    {"exp": [9_999_999_999]},
    {"exp": float("nan")},
    {"exp": float("inf")},
    {"nbf": int(time.time()) + 6000},
    {"nbf": "0"},
    {"nbf": {}},
    {"iat": int(time.time()) + 6000},
    {"iat": "0"},
    {"iat": False},
    {"iss": None},
    {"iss": ""},
    {"iss": "https://sso.example.org"},
    {"aud": None},
    {"aud": ""},
    {"aud": []},
    {"aud": "others"},
    {"aud": "efss"},
    {"aud": "efss-transfer-2"},
    {"aud": "Efss-Transfer"},
    {"aud": ["others", "more"]},
    {"aud": [AUDIENCE, 1]},
    {"aud": {AUDIENCE: 1}},
    {"aud": 1},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
    {"sub": True},
    {"sub": ["alice"]},
    {"sub": {"name": "alice"}},
    {"sub": "a" * 257},
    {"sub": "alice\n"},
    {"sub": "alice\0"},
    {"sub": "alice\u202egnp"},
    {"sub": "alice\u2028"},
    {"sub": "\ud800"},
    {"sub": "\t"},
]

FORGED: dict[str, Forger] = {
    "another's signature": lambda issuer: es256(
        {"alg": "ES256", "kid": "ES256"}, issuer.claims(), "ES256-attacker"
    ),
    "no signature": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "a cut signature": lambda issuer: issuer.token()[:-8],
    "a signature of zeros": lambda issuer: (
        issuer.token().rpartition(".")[0] + "." + segment(bytes(64))
    ),
    "another token's signature": lambda issuer: (
        issuer.token(sub="admin").rpartition(".")[0] + "." + issuer.token().rpartition(".")[2]
    ),
    "other claims": lambda issuer: tampered(issuer.token(), sub="admin"),
    "other claims, RSA": lambda issuer: tampered(issuer.token("RS256"), sub="admin"),
    "other claims, EdDSA": lambda issuer: tampered(issuer.token("EdDSA"), sub="admin"),
    "the public key's PEM as a secret": lambda issuer: by_hmac(issuer, "RS256", pem("RS256")),
    "the public key's PEM as a secret, cut": lambda issuer: by_hmac(
        issuer, "RS256", pem("RS256").strip()
    ),
    "the public key's JWK as a secret": lambda issuer: by_hmac(
        issuer, "RS256", json.dumps(jwk("RS256")).encode()
    ),
    "nothing as a secret": lambda issuer: by_hmac(issuer, "RS256", b""),
    "a published secret": lambda issuer: by_hmac(issuer, "shared", b"s" * 64),
    "a key of another kind": lambda issuer: issuer.token("ES256", header={"kid": "RS256"}),
    "PS256 with a key for RS256": lambda issuer: signed(
        {"alg": "PS256", "kid": "only-RS256"},
        issuer.claims(),
        lambda body: jwt.get_algorithm_by_name("PS256").sign(body, private("RS256-only")),
    ),
    "a curve that the algorithm has not": lambda issuer: signed(
        {"alg": "ES256", "kid": "ES384"},
        issuer.claims(),
        lambda body: jwt.get_algorithm_by_name("ES384").sign(body, private("ES384")),
    ),
    "an algorithm that the site has not chosen": lambda issuer: issuer.token("ES384"),
    "a key for encryption": lambda issuer: issuer.token("ES256-enc"),
    "a key for signing only": lambda issuer: issuer.token("ES256-sign"),
    "a key that says nothing clear of its use": lambda issuer: issuer.token("ES256-odd"),
    "a private key that was published": lambda issuer: issuer.token("ES256-leaked"),
    "a key that is too short": lambda issuer: signed(
        {"alg": "RS256", "kid": "short"},
        issuer.claims(),
        lambda body: short_key().sign(body, padding.PKCS1v15(), hashes.SHA256()),
    ),
    "one name for two keys": lambda issuer: issuer.token("ES256-one", header={"kid": "twins"}),
    "a key that is broken": lambda issuer: issuer.token("ES256", header={"kid": "broken"}),
    "no name, where several keys are": lambda issuer: issuer.token(header={"kid": None}),
    **{f"algorithm {name!r}": unsigned(name) for name in NO_ALGORITHMS},
    "no algorithm": lambda issuer: signed({"kid": "ES256"}, issuer.claims(), lambda _: b""),
    **{f"algorithm {name!r}, signed": saying(alg=name) for name in ODD_ALGORITHMS},
    **{f"key {str(kid)[:40]!r}": saying(kid=kid) for kid in ODD_KEY_NAMES},
    **{f"type {kind!r}": saying(typ=kind) for kind in ODD_TYPES},
    **{f"critical {members}": saying(**members) for members in ODD_MEMBERS},
    # By number: some hold the time, and each worker of pytest-xdist looks at its own clock.
    **{
        f"claims {number} {','.join(changes)}": claiming(**changes)
        for number, changes in enumerate(ODD_CLAIMS)
    },
    "null for the time": lambda issuer: es256(
        {"alg": "ES256", "kid": "ES256"}, issuer.claims() | {"exp": None}
    ),
    "the issuer in a list": lambda issuer: es256(
        {"alg": "ES256", "kid": "ES256"}, issuer.claims() | {"iss": [issuer.url]}
    ),
    "the issuer and a slash": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "claims that are a list": lambda _: es256({"alg": "ES256", "kid": "ES256"}, [1]),
    "claims that are a text": lambda _: es256({"alg": "ES256", "kid": "ES256"}, "alice"),
    "a header that is a list": lambda issuer: es256(["ES256"], issuer.claims()),
    "a header that is null": lambda issuer: es256(None, issuer.claims()),
    "a header deep as a well": lambda _: f"{segment(b'[' * 10_000)}.e30.e30",
    "an integer without an end": lambda _: f"{segment(b'[' + b'1' * 9_000 + b']')}.e30.e30",
    "a header that is no JSON": lambda _: f"{segment(b'{alg}')}.e30.e30",
    "a header that is no text": lambda _: f"{segment(bytes(range(255)))}.e30.e30",
    "one part": lambda issuer: issuer.token().split(".")[1],
    "two parts": lambda issuer: issuer.token().rpartition(".")[0],
    "four parts": lambda issuer: issuer.token() + ".e30",
    "five parts, as if encrypted": lambda issuer: issuer.token() + ".e30.e30",
    "dots alone": lambda _: "..",
    "a dot in front": lambda issuer: "." + issuer.token(),
    "the alphabet of plain base64": lambda issuer: issuer.token().replace("ey", "e+", 1),
    "a letter too many": lambda issuer: issuer.token() + "A",
    "garbage": lambda _: "garbage",
}


def odd_keys() -> list[Any]:
    """Keys beside the good ones that no token may be checked with, and what is no key."""
    short: Any = jwt.get_algorithm_by_name("RS256")
    leaked: Any = jwt.get_algorithm_by_name("ES256")
    return [
        jwk("RS256-only", kid="only-RS256", alg="RS256"),
        jwk("ES384"),
        jwk("ES256-enc", use="enc"),
        jwk("ES256-sign", key_ops=["sign"]),
        jwk("ES256-odd", key_ops="verify"),
        {**leaked.to_jwk(private("ES256-leaked"), as_dict=True), "kid": "ES256-leaked"},
        {**short.to_jwk(short_key().public_key(), as_dict=True), "kid": "short"},
        jwk("ES256-one", kid="twins"),
        jwk("ES256-two", kid="twins"),
        {"kty": "oct", "kid": "shared", "k": segment(b"s" * 64)},
        jwk("ES256", kid="broken", x="AAAA"),
        jwk("ES256", kid="broken too", x=7, y=[]),
        {"kty": "RSA", "kid": "no numbers"},
        {"kty": ["EC"], "crv": {}, "kid": [], "alg": {}, "use": [], "key_ops": "verify"},
        {"kty": "EC", "crv": ["P-256"], "kid": "ES256"},
        {},
        None,
        7,
        "ES256",
        ["ES256"],
    ]


@pytest.mark.parametrize("name", FORGED)
def test_a_token_that_is_not_in_order_is_refused_and_not_a_word_says_why(
    name: str, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issuer.keys += odd_keys()
    site = trusting(issuer, clock)
    token = FORGED[name](issuer)
    assert_refused(site, bearer(token))
    # The operator reads that somebody was refused, and nothing that came with the token.
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
    # And the next one, which is in order, comes in all the same.
    assert site.caller(bearer(issuer.token())) == "alice"


def test_a_tokens_reason_and_the_name_of_its_key_are_in_the_log(
    issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site = trusting(issuer, clock)
    assert_refused(site, bearer(issuer.token(exp=1)))
    assert_refused(site, bearer(issuer.token(header={"kid": "x\r\n\x1b[31mü" + "y" * 100})))
    assert [
        record.getMessage() for record in caplog.records if "caller" in record.getMessage()
    ] == [
        "caller refused: ExpiredSignatureError (kid 'ES256')",
        f"caller refused: unknown key (kid 'x[31m{'y' * 59}')",
    ]


def test_every_refusal_reads_the_same(issuer: Issuer, clock: Clock) -> None:
    issuer.keys += odd_keys()
    site = trusting(issuer, clock)
    sent = [bearer(make(issuer)) for make in FORGED.values()] + list(ODD_HEADERS.values())
    texts = set()
    for authorization in sent:
        with pytest.raises(Unauthenticated) as caught:
            site.caller(authorization)
        texts.add(str(caught.value))
    assert texts == {REFUSED}


def test_only_the_algorithms_that_the_site_chose_are_accepted(issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock, algorithms=("RS256",))
    assert site.caller(bearer(issuer.token("RS256"))) == "alice"
    for algorithm in ("PS256", "ES256", "EdDSA"):
        assert_refused(site, bearer(issuer.token(algorithm)))


def test_a_key_that_the_token_brings_along_is_not_looked_at(
    issuer: Issuer, other: Issuer, clock: Clock
) -> None:
    other.keys = [jwk("ES256-attacker", kid="ES256")]
    brought = {
        "jwk": jwk("ES256-attacker"),
        "jku": f"{other.url}/keys",
        "x5u": f"{other.url}/keys",
        "x5c": ["AAAA"],
    }
    site = trusting(issuer, clock)
    header = {"alg": "ES256", "kid": "ES256", **brought}
    assert_refused(site, bearer(es256(header, issuer.claims(), "ES256-attacker")))
    header["kid"] = "ES256-attacker"
    assert_refused(site, bearer(es256(header, issuer.claims(), "ES256-attacker")))
    assert site.caller(bearer(issuer.token(header=brought))) == "alice"
    assert other.asked == []


# What must not be configured.


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
def test_an_algorithm_that_proves_nothing_stops_the_start(
    algorithms: tuple[str, ...], issuer: Issuer, clock: Clock
) -> None:
    with pytest.raises(ConfigurationError):
        trusting(issuer, clock, algorithms=algorithms)


@pytest.mark.parametrize("audience", [(), ("",), (AUDIENCE, "")], ids=str)
def test_a_site_that_is_not_named_stops_the_start(
    audience: tuple[str, ...], issuer: Issuer, clock: Clock
) -> None:
    with pytest.raises(ConfigurationError):
        trusting(issuer, clock, audience=audience)


@pytest.mark.parametrize("member", ["issuer", "jwks_uri"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "sso.example.org",
        "//sso.example.org",
        "http://sso.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://127.0.0.1@sso.example.org",
        "http://10.0.0.1",
        "http://169.254.169.254/",
        "https://",
        "https:///keys",
        "https://user:password@sso.example.org",
        "https://sso.example.org:99999",
        "https://[::1",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
    ],
)
def test_an_issuer_whose_answers_anybody_could_give_stops_the_start(
    member: str, url: str, issuer: Issuer, clock: Clock
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trusting(issuer, clock, **{member: url})
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
def test_https_is_asked_and_this_machine_also_without(url: str, clock: Clock) -> None:
    OidcAuthenticator(url, (AUDIENCE,), ("RS256",), clock=clock)
    OidcAuthenticator("issuer", (AUDIENCE,), ("RS256",), jwks_uri=url, clock=clock)


# The issuer's keys.


def test_nothing_is_fetched_before_a_token_needs_it(issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock)
    assert issuer.asked == []
    site.caller(bearer(issuer.token()))
    site.caller(bearer(issuer.token("RS256")))
    assert issuer.asked == [DESCRIPTION, "/keys"]


def test_where_the_site_says_where_the_keys_are_no_description_is_read(
    issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock, jwks_uri=f"{issuer.url}/keys?realm=research")
    assert site.caller(bearer(issuer.token())) == "alice"
    assert issuer.asked == ["/keys?realm=research"]


def test_an_issuer_with_a_path_is_described_below_it(issuer: Issuer, clock: Clock) -> None:
    for name in (f"{issuer.url}/realms/research", f"{issuer.url}/realms/research/"):
        issuer.asked.clear()
        issuer.description = {"issuer": name}
        issuer.instead = lambda handler: (
            issuer.send(handler, {"issuer": issuer.description["issuer"], "jwks_uri": issuer.url})
            if "well-known" in handler.path
            else issuer.send(handler, {"keys": issuer.keys})
        )
        site = trusting(issuer, clock, issuer=name)
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
def test_keys_are_kept_as_long_as_the_issuer_says_within_bounds(
    cache_control: str | None, seconds: int, issuer: Issuer, clock: Clock
) -> None:
    issuer.cache_control = cache_control
    site = trusting(issuer, clock)
    token = bearer(issuer.token())
    site.caller(token)
    clock.now += seconds - 1
    site.caller(token)
    assert issuer.fetches == 1
    clock.now += 2
    site.caller(token)
    assert issuer.fetches == 2


def test_a_key_that_the_issuer_withdrew_is_refused_once_the_keys_are_not_fresh(
    issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock)
    token = bearer(issuer.token())
    assert site.caller(token) == "alice"
    issuer.keys = [jwk("RS256")]
    clock.now += 301
    assert_refused(site, token)
    # An issuer that has withdrawn all is believed as well.
    issuer.keys = []
    clock.now += 301
    assert_refused(site, bearer(issuer.token("RS256")))


def test_a_new_key_is_known_at_the_next_request(issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock)
    assert site.caller(bearer(issuer.token())) == "alice"
    for name in ("ES256-new", "ES256-newer", "ES256-newest"):
        issuer.keys.append(jwk(name))
        assert site.caller(bearer(issuer.token(name))) == "alice"
    assert issuer.fetches == 4


def unknown(issuer: Issuer, number: int) -> str:
    return bearer(issuer.token(header={"kid": f"unknown-{number}"}))


def test_a_flood_of_unknown_keys_is_no_flood_at_the_issuer(issuer: Issuer, clock: Clock) -> None:
    cold, warm = trusting(issuer, clock), trusting(issuer, clock)
    for number in range(1_000):
        assert_refused(cold, unknown(issuer, number))
    assert issuer.fetches == 1
    assert warm.caller(bearer(issuer.token())) == "alice"
    assert issuer.fetches == 2
    for number in range(1_000):
        assert_refused(warm, unknown(issuer, number))
    assert issuer.fetches == 3


def test_a_flood_of_unknown_keys_does_not_keep_a_new_key_out_for_long(
    issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock)
    for number in range(100):
        assert_refused(site, unknown(issuer, number))
        clock.now += 0.5
    assert issuer.fetches == 5
    issuer.keys.append(jwk("ES256-new"))
    for number in range(18):
        assert_refused(site, unknown(issuer, number))
        clock.now += 0.5
    clock.now += 1
    assert site.caller(bearer(issuer.token("ES256-new"))) == "alice"


def test_many_callers_at_once_with_unknown_keys_cause_one_fetch(
    issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock)

    def call(number: int) -> None:
        with pytest.raises((Unauthenticated, Busy)):
            site.caller(unknown(issuer, number))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(call, range(500)))
    assert issuer.fetches == 1


def test_callers_who_come_at_once_wait_for_one_fetch(issuer: Issuer, clock: Clock) -> None:
    asked, go_on = threading.Event(), threading.Event()
    plain = issuer.send

    def held(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.set()
        assert go_on.wait(60)
        plain(handler, {"keys": issuer.keys})

    issuer.instead = held
    site = trusting(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    token = bearer(issuer.token())
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(site.caller, token) for _ in range(12)]
        assert asked.wait(60)
        assert not any(call.done() for call in calls)
        go_on.set()
        assert {call.result(60) for call in calls} == {"alice"}
    assert issuer.fetches == 1


def test_who_finds_that_another_has_just_fetched_does_not_fetch_again(
    issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock)
    token = bearer(issuer.token())
    site.caller(token)
    clock.now += 301
    # When this caller looks at the clock, it has already seen that the keys are old.
    clock.meanwhile.append(lambda: site.caller(token))
    assert site.caller(token) == "alice"
    assert issuer.fetches == 2


def test_no_more_than_a_few_callers_wait_while_the_issuer_is_slow(
    issuer: Issuer, clock: Clock
) -> None:
    go_on = threading.Event()
    plain = issuer.send

    def held(handler: http.server.BaseHTTPRequestHandler) -> None:
        assert go_on.wait(60)
        plain(handler, {"keys": issuer.keys})

    issuer.instead = held
    site = trusting(issuer, clock, jwks_uri=f"{issuer.url}/keys")
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


# The issuer is not to be had.


def hang_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def reply(status: int, body: bytes = b"", **headers: str) -> Callable[[Any], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if "Transfer_Encoding" not in headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


BROKEN = {
    "hangs up": hang_up,
    "fails": reply(500, b'{"keys": []}'),
    "is busy": reply(503, Retry_After="1"),
    "knows nothing": reply(404),
    "has no content": reply(204),
    "wants a login": reply(401, WWW_Authenticate="Basic"),
    "shows a page": reply(200, b"<html>"),
    "answers nothing": reply(200),
    "answers half": reply(200, b'{"keys": ['),
    "answers a list": reply(200, b"[]"),
    "answers a text": reply(200, b'"keys"'),
    "answers other things": reply(200, b"{}"),
    "has no list of keys": reply(200, b'{"keys": {"ES256": {}}}'),
    "has null for keys": reply(200, b'{"keys": null}'),
    "nests deeply": reply(200, b"[" * 100_000),
    "answers no text": reply(200, b"\xff\xfe\xfd"),
    "packs its answer": reply(200, b"\x1f\x8b\x08", Content_Encoding="gzip"),
    "breaks its chunks": reply(200, b"zz\r\n", Transfer_Encoding="chunked"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("said", ["jwks_uri", "found"])
def test_an_issuer_that_was_never_reached_makes_the_service_busy(
    said: str, name: str, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.instead = BROKEN[name]
    site = trusting(issuer, clock, jwks_uri=f"{issuer.url}/keys" if said == "jwks_uri" else None)
    token = bearer(issuer.token())
    with pytest.raises(Busy) as caught:
        site.caller(token)
    assert (
        str(caught.value)
        == "The token issuer cannot be reached, so the token cannot be checked; try again."
    )
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    # Who asks at once must not make it worse; a little later it is asked again.
    asked = len(issuer.asked)
    for _ in range(50):
        with pytest.raises(Busy):
            site.caller(token)
    assert len(issuer.asked) == asked
    issuer.instead = None
    clock.now += 10
    assert site.caller(token) == "alice"


def test_where_nobody_listens_the_service_is_busy(clock: Clock) -> None:
    gone = Issuer()
    with misbehaving(gone.answer) as url:
        gone.url = url
    with pytest.raises(Busy):
        trusting(gone, clock).caller(bearer(gone.token()))


def test_what_can_be_told_without_the_issuer_is_told_without_it(
    issuer: Issuer, clock: Clock
) -> None:
    issuer.instead = hang_up
    site = trusting(issuer, clock)
    for name in ("garbage", "algorithm 'none'", "type 'logout+jwt'", "key '7'", "four parts"):
        assert_refused(site, bearer(FORGED[name](issuer)))
    assert issuer.asked == []


def test_while_the_issuer_is_down_its_keys_serve_for_a_day(issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock)
    token = bearer(issuer.token())
    site.caller(token)
    fetched = clock.now
    issuer.instead = hang_up
    for seconds in (301, 3_600, 12 * 3_600, 24 * 3_600 - 1):
        clock.now = fetched + seconds
        assert site.caller(token) == "alice"
        # What was forged is so with old keys, too.
        assert_refused(site, bearer(FORGED["other claims"](issuer)))
        # A key that is not known may be a new one: that cannot be told.
        with pytest.raises(Busy):
            site.caller(unknown(issuer, 1))
    clock.now = fetched + 24 * 3_600
    with pytest.raises(Busy):
        site.caller(token)
    issuer.instead = None
    clock.now += 10
    assert site.caller(token) == "alice"


def test_while_the_issuer_is_down_it_is_asked_every_ten_seconds_at_most(
    issuer: Issuer, clock: Clock
) -> None:
    site = trusting(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    token = bearer(issuer.token())
    site.caller(token)
    issuer.instead = hang_up
    clock.now += 301
    for _ in range(100):
        assert site.caller(token) == "alice"
        with pytest.raises(Busy):
            site.caller(unknown(issuer, 1))
        clock.now += 0.5
    assert issuer.fetches == 1 + 5


def test_a_description_of_another_issuer_is_not_followed(issuer: Issuer, clock: Clock) -> None:
    token = bearer(issuer.token())
    for changes in (
        {"issuer": "https://sso.example.org"},
        {"issuer": issuer.url + "/"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "keys"},
        {"jwks_uri": "http://sso.example.org/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ):
        issuer.description = changes
        with pytest.raises(Busy):
            trusting(issuer, clock).caller(token)
    assert issuer.fetches == 0


def test_a_public_issuer_cannot_lead_us_to_this_machine(clock: Clock) -> None:
    public = Issuer()
    public.url = "https://sso.example.org"
    asked = []

    def fetch(url: str) -> oidc.Fetched:
        asked.append(url)
        described = {"issuer": public.url, "jwks_uri": "http://127.0.0.1/keys"}
        return oidc.Fetched(json.dumps(described).encode())

    with pytest.raises(Busy):
        trusting(public, clock, fetch=fetch).caller(bearer(public.token()))
    assert asked == [public.url + DESCRIPTION]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    status: int, issuer: Issuer, other: Issuer, clock: Clock
) -> None:
    token = bearer(issuer.token())
    for location in (f"{other.url}/keys", "//sso.example.org/keys", "file:///etc/passwd", "/keys"):
        issuer.instead = reply(status, b"", Location=location)
        for uri in (None, f"{issuer.url}/moved"):
            with pytest.raises(Busy):
                trusting(issuer, clock, jwks_uri=uri).caller(token)
    assert other.asked == []
    assert issuer.fetches == 0


def test_keys_may_have_a_mebibyte_and_no_more(issuer: Issuer, clock: Clock) -> None:
    token = bearer(issuer.token())
    document = json.dumps({"keys": issuer.keys, "x": ""}).encode()
    largest = document.replace(b'""', b'"' + b"x" * ((1 << 20) - len(document)) + b'"')
    assert len(largest) == 1 << 20
    uri = f"{issuer.url}/keys"
    issuer.instead = reply(200, largest)
    assert trusting(issuer, clock, jwks_uri=uri).caller(token) == "alice"
    issuer.instead = reply(200, largest + b" ")
    with pytest.raises(Busy):
        trusting(issuer, clock, jwks_uri=uri).caller(token)


def test_keys_may_come_in_pieces(issuer: Issuer, clock: Clock) -> None:
    body = json.dumps({"keys": issuer.keys}).encode()
    pieces = b"".join(b"1\r\n" + body[i : i + 1] + b"\r\n" for i in range(len(body)))
    issuer.instead = reply(200, pieces + b"0\r\n\r\n", Transfer_Encoding="chunked")
    site = trusting(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    assert site.caller(bearer(issuer.token())) == "alice"


def test_an_answer_without_an_end_is_not_read_on(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 0.5)
    gave_up = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 20))
        handler.end_headers()
        try:
            while not gave_up.wait(0.02):
                handler.wfile.write(b" ")
        except OSError:
            gave_up.set()

    issuer.instead = drip
    try:
        with pytest.raises(Busy):
            trusting(issuer, clock).caller(bearer(issuer.token()))
        # The connection was closed, although there was always something to read.
        assert gave_up.wait(60)
    finally:
        gave_up.set()


def test_nobody_waits_for_a_fetch_that_does_not_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a resolver of names that is silent for minutes: no timeout of ours reaches it."""
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 0.1)
    issuer = Issuer()
    issuer.url = "https://sso.example.org"
    stuck, go_on, begun = threading.Event(), threading.Event(), []

    def fetch(url: str) -> oidc.Fetched:
        begun.append(url)
        if stuck.is_set():
            assert go_on.wait(60)
        return oidc.Fetched(json.dumps({"keys": issuer.keys}).encode())

    uri = f"{issuer.url}/keys"
    token = bearer(issuer.token())
    warm = trusting(issuer, clock, fetch=lambda _: fetch("warm"), jwks_uri=uri)
    with monkeypatch.context() as patient:
        patient.setattr(oidc, "FETCH_SECONDS", 60.0)
        assert warm.caller(token) == "alice"
    stuck.set()
    try:
        cold = trusting(issuer, clock, fetch=fetch, jwks_uri=uri)
        for _ in range(3):
            with pytest.raises(Busy):
                cold.caller(token)
            clock.now += 400
            assert warm.caller(token) == "alice"
        # And no second fetch joins one that is stuck.
        assert begun == ["warm", uri, "warm"]
    finally:
        go_on.set()
    wait_for_fetches()
    assert cold.caller(token) == "alice"


def test_the_issuer_on_this_machine_is_asked_directly(
    issuer: Issuer, other: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    assert trusting(issuer, clock).caller(bearer(issuer.token())) == "alice"
    assert other.asked == []


def certificate() -> bytes:
    """For 127.0.0.1, and signed by nobody but itself; with its key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now, key = datetime.now(UTC), private("ES256")
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM) + secret


@contextmanager
def over_tls(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None], pem: Path
) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with http.server.ThreadingHTTPServer((str(LOOPBACK), 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with serving(server.serve_forever, server.shutdown):
            yield f"https://{LOOPBACK}:{server.server_address[1]}"


def test_over_https_the_issuer_must_prove_who_it_is_and_is_told_no_secret(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, netrc = tmp_path / "issuer.pem", tmp_path / "netrc"
    pem.write_bytes(certificate())
    netrc.write_text("default login alice password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    issuer = Issuer()
    with over_tls(issuer.answer, pem) as url:
        issuer.url = url
        with pytest.raises(Busy):
            trusting(issuer, clock).caller(bearer(issuer.token()))
        assert issuer.asked == []
        # An authority of the operator's own, as other programs are told of it, too.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
        assert trusting(issuer, clock).caller(bearer(issuer.token())) == "alice"
    assert issuer.asked == [DESCRIPTION, "/keys"]
    assert not any(name in headers for headers in issuer.headers for name in SECRET_HEADERS)


# Whatever is sent.

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


def test_whatever_is_sent_is_refused_in_order(issuer: Issuer, clock: Clock) -> None:
    site = trusting(issuer, clock)
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
            LISTED.caller(authorization)

    send()
    assert told <= {REFUSED, MISSING}
    assert accepted < 200
    assert site.caller(bearer(good)) == "alice"
