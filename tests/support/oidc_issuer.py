"""An OpenID Connect issuer on loopback, tokens that it signs, and a clock for its keys' age."""

from __future__ import annotations

import base64
import hashlib
import http.server
import ipaddress
import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from efss_transfer.auth.authentication import (
    REFUSED,
    Authenticator,
    OidcAuthenticator,
)
from efss_transfer.model.errors import Unauthenticated

AUDIENCE = "efss-transfer"
LOOPBACK = ipaddress.ip_address("127.0.0.1")
SECRET_HEADERS = ("Authorization", "Cookie")
DESCRIPTION = "/.well-known/openid-configuration"


def wait_for_fetches() -> None:
    """Wait for running fetches, including those that no caller waits for."""
    for thread in threading.enumerate():
        if thread.name == "issuer-keys":
            thread.join(60)
            assert not thread.is_alive()


# RSA keys take a while to generate, so each key is generated once.


@cache
def private(name: str) -> Any:
    """The private key of this name, whose beginning says the algorithm."""
    if name.startswith(("RS", "PS")):
        return rsa.generate_private_key(65537, 2048)
    if name.startswith("ES256"):
        return ec.generate_private_key(ec.SECP256R1())
    if name.startswith("ES384"):
        return ec.generate_private_key(ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


def jwk(name: str, **members: Any) -> dict[str, Any]:
    """The public key as an issuer publishes it. A member that is None is left out."""
    algorithm: Any = jwt.get_algorithm_by_name(name.partition("-")[0])
    public = algorithm.to_jwk(private(name).public_key(), as_dict=True)
    described = {**public, "kid": name, "use": "sig", **members}
    return {member: value for member, value in described.items() if value is not None}


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: Any, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token with any header and claims, which no library would sign."""
    body = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(claims).encode())}"
    return f"{body}.{segment(sign(body.encode()))}"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 5_000.0
        self.meanwhile: list[Callable[[], object]] = []

    def __call__(self) -> float:
        """The time, after running what a test scheduled to happen meanwhile."""
        while self.meanwhile:
            self.meanwhile.pop()()
        return self.now


class Issuer:
    """A token issuer: what it publishes, and the requests that it received."""

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
        """How often its keys were fetched."""
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
        """Valid claims with changes; a claim that is None is left out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3600}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, key: str = "ES256", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A signed token; a header member that is None is left out."""
        members = {"kid": key} | (header or {})
        return jwt.encode(
            self.claims(**claims),
            private(key),
            algorithm=key.partition("-")[0],
            headers={name: value for name, value in members.items() if value is not None},
        )


class Server:
    """A server that answers for the current test's issuer."""

    def __init__(self) -> None:
        self.issuer = Issuer()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.issuer.answer(handler)


def authenticator_for(
    issuer: Issuer, clock: Callable[[], float], /, **changes: Any
) -> OidcAuthenticator:
    """An authenticator that trusts this issuer."""
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


def unknown_key_token(issuer: Issuer, number: int) -> str:
    return bearer(issuer.token(header={"kid": f"unknown-{number}"}))


def close_without_response(handler: http.server.BaseHTTPRequestHandler) -> None:
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
