"""Access tokens of an OpenID Connect issuer, through the HTTP door."""

from __future__ import annotations

import http.server
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import http_servers, service_process
from support.http_servers import reply
from support.service_process import LOOPBACK, Function
from support.storages import Storage

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Its description, and its one key."""
    key = {**jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one"}

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        url = f"http://{handler.headers['Host']}"
        found = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
            "/keys": {"keys": [key]},
        }.get(handler.path)
        reply(handler, 200 if found else 404, json.dumps(found).encode(), "application/json")

    with http_servers.misbehaving(answer) as url:
        yield url.rstrip("/")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, issuer: str) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("oidc")
    site = {
        **LOOPBACK,
        "authentication": {"mode": "oidc", "issuer": issuer, "audience": ["efss-transfer"]},
        "callers": {"alice": {}},
    }
    with service_process.function(runtime, site=site) as running:
        yield running
        running.wait_clean()


def claims(issuer: str, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": issuer, "aud": "efss-transfer", "sub": "alice", "iat": now, "exp": now + 300}
    return {name: it for name, it in {**good, **changes}.items() if it is not None}


def signed(content: Any, key: Any = KEY, algorithm: str = "RS256", **headers: Any) -> str:
    return jwt.encode(content, key, algorithm, headers={"kid": "one", **headers})


def test_a_good_token_lets_its_caller_copy(
    guarded: Function, issuer: str, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("by-oidc", {"a.txt": b"a"})
    token = signed(claims(issuer))
    body = {"source": webdav.endpoint("by-oidc"), "destination": s3.endpoint("by-oidc")}
    answer = guarded.post(body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/by-oidc") == hashes
    log = guarded.log.read_text()
    assert "by 'alice'" in log
    assert token not in log


def unsigned(content: Any) -> str:
    return jwt.encode(content, "", "none")


def by_public_key(content: Any) -> str:
    """Signed with what everybody knows, as if that were a secret."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, _, rest = jwt.encode(content, "x" * 64, "HS256", headers={"kid": "one"}).rpartition(".")
    del rest
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    mac = algorithm.sign(head.encode(), pem)
    return f"{head}.{jwt.utils.base64url_encode(mac).decode()}"


NOW = int(time.time())
WRONG: dict[str, Callable[[str], str]] = {
    "expired": lambda issuer: signed(claims(issuer, exp=NOW - 3600)),
    "of the future": lambda issuer: signed(claims(issuer, iat=NOW + 3600, exp=NOW + 7200)),
    "not yet valid": lambda issuer: signed(claims(issuer, nbf=NOW + 3600)),
    "for somebody else": lambda issuer: signed(claims(issuer, aud="another-service")),
    "of somebody else": lambda _: signed(claims("https://evil.example.com")),
    "for ever": lambda issuer: signed(claims(issuer, exp=None)),
    "nobody's": lambda issuer: signed(claims(issuer, sub=None)),
    "wrongly signed": lambda issuer: signed(claims(issuer), OTHER),
    "by an unknown key": lambda issuer: signed(claims(issuer), OTHER, kid="two"),
    "by another algorithm": lambda issuer: signed(claims(issuer), algorithm="RS512"),
    "not signed": lambda issuer: unsigned(claims(issuer)),
    "signed with the public key": lambda issuer: by_public_key(claims(issuer)),
    "changed": lambda issuer: signed(claims(issuer))[:-8] + "AAAAAAAA",
    "garbage": lambda _: "a.b.c",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_not_good_is_refused_in_the_same_words(
    guarded: Function, issuer: str, name: str
) -> None:
    answer = guarded.post({}, headers={"Authorization": f"Bearer {WRONG[name](issuer)}"})
    assert answer.status_code == 401, answer.text
    assert answer.json()["detail"] == "This service does not accept the token."
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_caller_whom_the_site_does_not_name_stays_out(guarded: Function, issuer: str) -> None:
    token = signed(claims(issuer, sub="mallory"))
    answer = guarded.post({}, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
