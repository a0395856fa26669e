"""An issuer that fails, redirects, stalls, or is not who it claims to be."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from efss_transfer.auth import oidc
from efss_transfer.model.errors import Busy
from support.forged_tokens import FORGED_TOKENS
from support.http_servers import misbehaving
from support.oidc_issuer import (
    DESCRIPTION,
    LOOPBACK,
    SECRET_HEADERS,
    Clock,
    Issuer,
    assert_refused,
    authenticator_for,
    bearer,
    close_without_response,
    private,
    reply,
    unknown_key_token,
    wait_for_fetches,
)
from support.storages import serving

FAILURES = {
    "hangs up": close_without_response,
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


@pytest.mark.parametrize(
    ("fails", "name"),
    [
        *(("keys", name) for name in FAILURES),
        *(("metadata", name) for name in ("hangs up", "fails", "shows a page", "answers a list")),
    ],
)
def test_failing_issuer_makes_the_service_busy(
    fails: str, name: str, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.instead = FAILURES[name]
    site = authenticator_for(
        issuer, clock, jwks_uri=f"{issuer.url}/keys" if fails == "keys" else None
    )
    token = bearer(issuer.token())
    with pytest.raises(Busy) as caught:
        site.caller(token)
    assert (
        str(caught.value)
        == "The token issuer cannot be reached, so the token cannot be checked; try again."
    )
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    # Calls during the pause cause no fetch; after it the issuer is asked again.
    asked = len(issuer.asked)
    for _ in range(50):
        with pytest.raises(Busy):
            site.caller(token)
    assert len(issuer.asked) == asked
    issuer.instead = None
    clock.now += 10
    assert site.caller(token) == "alice"


def test_unreachable_issuer_makes_the_service_busy(clock: Clock) -> None:
    gone = Issuer()
    with misbehaving(gone.answer) as url:
        gone.url = url
    with pytest.raises(Busy):
        authenticator_for(gone, clock).caller(bearer(gone.token()))


def test_malformed_token_is_refused_without_asking_the_issuer(issuer: Issuer, clock: Clock) -> None:
    issuer.instead = close_without_response
    site = authenticator_for(issuer, clock)
    for name in ("garbage", "algorithm 'none'", "type 'logout+jwt'", "key '7'", "four parts"):
        assert_refused(site, bearer(FORGED_TOKENS[name](issuer)))
    assert issuer.asked == []


def test_keys_of_an_unreachable_issuer_stay_usable_for_a_day(issuer: Issuer, clock: Clock) -> None:
    site = authenticator_for(issuer, clock)
    token = bearer(issuer.token())
    site.caller(token)
    fetched = clock.now
    issuer.instead = close_without_response
    for seconds in (301, 3_600, 12 * 3_600, 24 * 3_600 - 1):
        clock.now = fetched + seconds
        assert site.caller(token) == "alice"
        # Old keys still expose a forged token.
        assert_refused(site, bearer(FORGED_TOKENS["other claims"](issuer)))
        # An unknown key may be new, and the issuer cannot be asked.
        with pytest.raises(Busy):
            site.caller(unknown_key_token(issuer, 1))
    clock.now = fetched + 24 * 3_600
    with pytest.raises(Busy):
        site.caller(token)
    issuer.instead = None
    clock.now += 10
    assert site.caller(token) == "alice"


def test_unreachable_issuer_is_asked_at_most_every_ten_seconds(
    issuer: Issuer, clock: Clock
) -> None:
    site = authenticator_for(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    token = bearer(issuer.token())
    site.caller(token)
    issuer.instead = close_without_response
    clock.now += 301
    for _ in range(100):
        assert site.caller(token) == "alice"
        with pytest.raises(Busy):
            site.caller(unknown_key_token(issuer, 1))
        clock.now += 0.5
    assert issuer.fetches == 1 + 5


def test_metadata_of_another_issuer_is_not_followed(issuer: Issuer, clock: Clock) -> None:
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
            authenticator_for(issuer, clock).caller(token)
    assert issuer.fetches == 0


def test_public_issuer_cannot_name_keys_on_loopback(clock: Clock) -> None:
    public = Issuer()
    public.url = "https://sso.example.org"
    asked = []

    def fetch(url: str) -> oidc.Fetched:
        asked.append(url)
        described = {"issuer": public.url, "jwks_uri": "http://127.0.0.1/keys"}
        return oidc.Fetched(json.dumps(described).encode())

    with pytest.raises(Busy):
        authenticator_for(public, clock, fetch=fetch).caller(bearer(public.token()))
    assert asked == [public.url + DESCRIPTION]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status: int, issuer: Issuer, other: Issuer, clock: Clock) -> None:
    token = bearer(issuer.token())
    for location in (f"{other.url}/keys", "//sso.example.org/keys", "file:///etc/passwd", "/keys"):
        issuer.instead = reply(status, b"", Location=location)
        for uri in (None, f"{issuer.url}/moved"):
            with pytest.raises(Busy):
                authenticator_for(issuer, clock, jwks_uri=uri).caller(token)
    assert other.asked == []
    assert issuer.fetches == 0


def test_response_is_limited_to_one_mebibyte(issuer: Issuer, clock: Clock) -> None:
    token = bearer(issuer.token())
    document = json.dumps({"keys": issuer.keys, "x": ""}).encode()
    largest = document.replace(b'""', b'"' + b"x" * ((1 << 20) - len(document)) + b'"')
    assert len(largest) == 1 << 20
    uri = f"{issuer.url}/keys"
    issuer.instead = reply(200, largest)
    assert authenticator_for(issuer, clock, jwks_uri=uri).caller(token) == "alice"
    issuer.instead = reply(200, largest + b" ")
    with pytest.raises(Busy):
        authenticator_for(issuer, clock, jwks_uri=uri).caller(token)


def test_chunked_response_is_read(issuer: Issuer, clock: Clock) -> None:
    body = json.dumps({"keys": issuer.keys}).encode()
    pieces = b"".join(b"1\r\n" + body[i : i + 1] + b"\r\n" for i in range(len(body)))
    issuer.instead = reply(200, pieces + b"0\r\n\r\n", Transfer_Encoding="chunked")
    site = authenticator_for(issuer, clock, jwks_uri=f"{issuer.url}/keys")
    assert site.caller(bearer(issuer.token())) == "alice"


def test_endless_response_is_abandoned(
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
            authenticator_for(issuer, clock).caller(bearer(issuer.token()))
        # The client closed the connection while data kept arriving.
        assert gave_up.wait(60)
    finally:
        gave_up.set()


def test_stuck_fetch_delays_no_caller_beyond_the_limit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver can hang for minutes, and no socket timeout applies to it."""
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
    warm = authenticator_for(issuer, clock, fetch=lambda _: fetch("warm"), jwks_uri=uri)
    with monkeypatch.context() as patient:
        patient.setattr(oidc, "FETCH_SECONDS", 60.0)
        assert warm.caller(token) == "alice"
    stuck.set()
    try:
        cold = authenticator_for(issuer, clock, fetch=fetch, jwks_uri=uri)
        for _ in range(3):
            with pytest.raises(Busy):
                cold.caller(token)
            clock.now += 400
            assert warm.caller(token) == "alice"
        # No second fetch starts while one is stuck.
        assert begun == ["warm", uri, "warm"]
    finally:
        go_on.set()
    wait_for_fetches()
    assert cold.caller(token) == "alice"


def test_loopback_issuer_is_asked_without_a_proxy(
    issuer: Issuer, other: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    assert authenticator_for(issuer, clock).caller(bearer(issuer.token())) == "alice"
    assert other.asked == []


def self_signed_certificate() -> bytes:
    """A certificate for 127.0.0.1 with its key, in PEM."""
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
def https_server(
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


def test_https_issuer_needs_a_trusted_certificate_and_gets_no_secret(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, netrc = tmp_path / "issuer.pem", tmp_path / "netrc"
    pem.write_bytes(self_signed_certificate())
    netrc.write_text("default login alice password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    issuer = Issuer()
    with https_server(issuer.answer, pem) as url:
        issuer.url = url
        with pytest.raises(Busy):
            authenticator_for(issuer, clock).caller(bearer(issuer.token()))
        assert issuer.asked == []
        # The operator's own authority, configured as for other programs.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
        assert authenticator_for(issuer, clock).caller(bearer(issuer.token())) == "alice"
    assert issuer.asked == [DESCRIPTION, "/keys"]
    assert not any(name in headers for headers in issuer.headers for name in SECRET_HEADERS)
