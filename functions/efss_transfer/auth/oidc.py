"""Fetches and caches the public keys of a token issuer (OpenID Connect).

Keys are fetched in a separate thread, one fetch at a time, so that a resolver or an issuer
that does not respond delays a caller by at most `FETCH_SECONDS`.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from efss_transfer.model.errors import Busy, ConfigurationError

FETCH_SECONDS: Final = 5.0
"""How long a caller waits for the issuer."""
PAUSE_SECONDS: Final = 10.0
"""The pause before the next fetch, after one failed or did not bring the key."""
STALE_SECONDS: Final = 24 * 3600.0
"""How long keys stay usable while the issuer cannot be reached."""

_LOG: Final = logging.getLogger(__name__)
_FRESH_SECONDS: Final = 300
_FRESH_RANGE: Final = (60, 3600)
_MAX_BYTES: Final = 1 << 20
# Further callers do not wait: tokens with invented key ids must not occupy all threads of the
# server while the issuer is slow.
_MAX_WAITING: Final = 16
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)

_RSA: Final = ("RSA", None)
# The key type, and the curve if any, that an algorithm needs (RFC 7518, RFC 8037).
ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": _RSA,
    "RS384": _RSA,
    "RS512": _RSA,
    "PS256": _RSA,
    "PS384": _RSA,
    "PS512": _RSA,
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithms that a site may accept: only the issuer has the key that they sign with."""

Jwk = Mapping[str, Any]


@dataclass(frozen=True)
class Fetched:
    """A body, and its max-age in seconds if the response has one."""

    body: bytes
    max_age: int | None = None


Fetch = Callable[[str], Fetched]
"""GETs a URL. Any exception means that the response cannot be used."""


class _Unusable(Exception):
    """The issuer's response cannot be used. The text quotes nothing from it."""


def fetch(url: str) -> Fetched:
    """GET a URL of an issuer. Accepts status 200 and at most 1 MiB; follows no redirect.

    Raises _Unusable, or an exception of requests or urllib3.
    """
    deadline = time.monotonic() + FETCH_SECONDS
    with requests.Session() as session:
        # Use the operator's proxies and certificates from the environment, except on loopback.
        session.trust_env = urlsplit(url).scheme == "https"
        # Without this, requests would send credentials from ~/.netrc.
        session.auth = lambda request: request
        with session.get(
            url,
            # Uncompressed, so that the size limit holds in memory, too.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=FETCH_SECONDS,
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != 200:
                raise _Unusable(f"status {response.status_code}")
            body = bytearray()
            while chunk := response.raw.read1(1 << 16, decode_content=False):
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise _Unusable("a response that is too large")
                if time.monotonic() > deadline:
                    raise _Unusable("a response that takes too long")
            age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
            return Fetched(bytes(body), int(age[1]) if age else None)


@dataclass(frozen=True)
class _Keys:
    """The issuer's keys at one time. Times are seconds on `IssuerKeys`' clock."""

    keys: tuple[Jwk, ...] = ()
    fetched: float = -math.inf
    fresh_until: float = -math.inf

    def find(self, kid: str | None, algorithm: str) -> Jwk | None:
        """The only key with this key id that suits the algorithm, or None.

        Without a key id, any key that suits is a candidate.
        """
        candidates = [
            key
            for key in self.keys
            if (kid is None or key.get("kid") == kid) and _suits(key, algorithm)
        ]
        return candidates[0] if len(candidates) == 1 else None


def _suits(key: Jwk, algorithm: str) -> bool:
    key_type, curve = ALGORITHMS[algorithm]
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == key_type
        and key.get("crv") == curve
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        # With a published private key, anyone can sign.
        and "d" not in key
    )


class IssuerKeys:
    """The keys of one issuer, from `jwks_uri` or else from the URL in its metadata.

    They are fetched when they are first needed, when they are no longer fresh (after 300 s,
    or the max-age of the issuer's Cache-Control), and when a token names an unknown key.
    Raises ConfigurationError for a URL that must not be used.
    """

    def __init__(
        self, issuer: str, jwks_uri: str | None, fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        try:
            _check_url(issuer if jwks_uri is None else jwks_uri)
        except _Unusable as error:
            name = "issuer" if jwks_uri is None else "jwks_uri"
            raise ConfigurationError(f"`{name}` in the site file is {error}.") from None
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._keys = _Keys()
        self._thread: threading.Thread | None = None
        self._started = self._failed = self._key_missing = -math.inf
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)

    def find(self, kid: str | None, algorithm: str) -> Jwk | None:
        """The key with this key id for this algorithm.

        None if the issuer has no such key, or several. Raises Busy if the issuer cannot be
        asked now.
        """
        keys = self._keys
        key = keys.find(kid, algorithm)
        if key is not None and self._clock() < keys.fresh_until:
            return key
        is_current = self._refresh(keys, kid, algorithm)
        keys = self._keys
        key = keys.find(kid, algorithm)
        if key is not None and self._clock() < keys.fetched + STALE_SECONDS:
            return key
        if key is None and is_current:
            return None
        # An unknown key may be new until the issuer has been asked.
        raise Busy("The token issuer cannot be reached, so the token cannot be checked; try again.")

    def _refresh(self, seen: _Keys, kid: str | None, algorithm: str) -> bool:
        """Fetch the keys, or wait for the fetch that is running.

        `seen` are the keys that did not suffice. Returns whether the keys are now as current
        as the pauses between fetches allow.
        """
        with self._lock:
            if self._keys is not seen:
                return True
            now = self._clock()
            if self._thread is None:
                if now < self._failed + PAUSE_SECONDS:
                    return False
                if now < self._key_missing + PAUSE_SECONDS:
                    return True
                thread = threading.Thread(
                    target=self._run, args=(kid, algorithm), name="issuer-keys", daemon=True
                )
                thread.start()
                self._thread, self._started = thread, now
            thread, started = self._thread, self._started
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            thread.join(max(0.0, started + FETCH_SECONDS - now))
        finally:
            self._waiting.release()
        return self._keys is not seen

    def _run(self, kid: str | None, algorithm: str) -> None:
        keys: _Keys | None = None
        try:
            keys = self._fetch_keys()
        except _Unusable as error:
            _LOG.warning("cannot fetch keys from the token issuer %s: %s", self._issuer, error)
        except Exception as error:  # noqa: BLE001 - any failure means no new keys
            _LOG.warning(
                "cannot fetch keys from the token issuer %s: %s", self._issuer, type(error).__name__
            )
        with self._lock:
            self._thread = None
            if keys is None:
                self._failed = self._clock()
                return
            self._keys = keys
            if keys.find(kid, algorithm) is None:
                self._key_missing = self._clock()

    def _fetch_keys(self) -> _Keys:
        uri = self._jwks_uri
        if uri is None:
            metadata = _json_object(
                self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
            )
            if metadata.get("issuer") != self._issuer:
                raise _Unusable("metadata of another issuer")
            uri = metadata.get("jwks_uri")
            if not isinstance(uri, str):
                raise _Unusable("metadata without jwks_uri")
            # A public issuer must not redirect the fetch to this machine.
            _check_url(uri, allow_loopback=self._issuer.startswith("http:"))
        fetched = self._fetch(uri)
        keys = _json_object(fetched).get("keys")
        if not isinstance(keys, list):
            raise _Unusable("not a JSON Web Key Set")
        lowest, highest = _FRESH_RANGE
        age = _FRESH_SECONDS if fetched.max_age is None else fetched.max_age
        now = self._clock()
        return _Keys(
            keys=tuple(key for key in keys if isinstance(key, dict)),
            fetched=now,
            fresh_until=now + min(max(age, lowest), highest),
        )


def _json_object(fetched: Fetched) -> dict[str, Any]:
    document = json.loads(fetched.body)
    if not isinstance(document, dict):
        raise _Unusable("not a JSON object")
    return document


def _check_url(url: str, allow_loopback: bool = True) -> None:
    """Refuse a URL that is not https, or http on this machine if `allow_loopback`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _Unusable("not a URL") from None
    if not host or "@" in parts.netloc:
        raise _Unusable("a URL without a host, or with a user name")
    is_loopback = parts.scheme == "http" and _is_loopback(host)
    if parts.scheme != "https" and not (allow_loopback and is_loopback):
        raise _Unusable("not an https URL")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
