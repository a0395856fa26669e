"""Authorization headers and tokens that no service may accept."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support.oidc_issuer import AUDIENCE, Issuer, jwk, private, segment, signed

SECRET = "0123456789abcdef.-_~+/0123456789ABCDEF=="

INVALID_HEADERS = {
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


def tampered(token: str, **changes: Any) -> str:
    """The token with other claims and its original signature."""
    header, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{header}.{segment(json.dumps(claims | changes).encode())}.{signature}"


def by_hmac(issuer: Issuer, key: str, secret: bytes) -> str:
    """Signed with public data, which a naive verifier takes for a shared secret."""
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
    """A valid signature over any header and claims."""
    return signed(
        header, claims, lambda body: jwt.get_algorithm_by_name("ES256").sign(body, private(key))
    )


@cache
def short_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what is refused


Forger = Callable[[Issuer], str]


def unsigned(algorithm: object) -> Forger:
    """An empty signature, because the algorithm needs none."""
    return lambda issuer: signed({"alg": algorithm, "kid": "ES256"}, issuer.claims(), lambda _: b"")


def saying(**members: object) -> Forger:
    """A valid signature over an invalid header."""
    return lambda issuer: es256({"alg": "ES256", "kid": "ES256"} | members, issuer.claims())


def claiming(**changes: Any) -> Forger:
    """A valid signature over invalid claims."""
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

FORGED_TOKENS: dict[str, Forger] = {
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
    # Numbered, because some contain the time, which differs between pytest-xdist workers.
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


def unusable_keys() -> list[Any]:
    """Keys that must verify no token, and values that are not keys."""
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
