"""The public keys of an issuer of tokens (OpenID Connect): found, fetched, and kept.

They are fetched in a thread of their own, one at a time, so that neither a resolver nor an
issuer that does not answer holds a caller for longer than `FETCH_SECONDS`.
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
"""How long the issuer is left alone after it failed, or had not the key that was wanted."""
STALE_SECONDS: Final = 24 * 3600.0
"""How long keys may serve that could not be fetched again."""

_LOG: Final = logging.getLogger(__name__)
_FRESH_SECONDS: Final = 300
_FRESH_BOUNDS: Final = (60, 3600)
_LARGEST: Final = 1 << 20
# More callers than these do not wait: who invents names of keys must not come to hold all
# threads of the server while the issuer is slow.
_MOST_WAITING: Final = 16
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)

_RSA: Final = ("RSA", None)
# The key that an algorithm needs (RFC 7518, RFC 8037): its type, and its curve if it has one.
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
"""Those that may be accepted: all of them sign with a key that the issuer alone has."""

Jwk = Mapping[str, Any]


@dataclass(frozen=True)
class Fetched:
    """A body, and for how many seconds it may be kept, if that was said."""

    body: bytes
    max_age: int | None = None


Fetch = Callable[[str], Fetched]
"""GETs a URL; whatever it raises means that there is no answer to use."""


class _Unusable(Exception):
    """The issuer's answer is not what it should be. The text is our own."""


def fetch(url: str) -> Fetched:
    """GET a URL of an issuer's: 200 with at most 1 MiB, and no redirect anywhere.

    Raises an exception of requests', or one of our own.
    """
    until = time.monotonic() + FETCH_SECONDS
    with requests.Session() as session:
        # The environment's proxies and certificates are the operator's; loopback has none.
        session.trust_env = urlsplit(url).scheme == "https"
        # Otherwise requests would send what ~/.netrc has for that host.
        session.auth = lambda request: request
        with session.get(
            url,
            # Not packed, so that what is small on the way is small in memory as well.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=FETCH_SECONDS,
            allow_redirects=False,
            stream=True,
        ) as reply:
            if reply.status_code != 200:
                raise _Unusable(f"status {reply.status_code}")
            body = bytearray()
            while chunk := reply.raw.read1(1 << 16, decode_content=False):
                body += chunk
                if len(body) > _LARGEST:
                    raise _Unusable("an answer that is too large")
                if time.monotonic() > until:
                    raise _Unusable("an answer that takes too long")
            age = _MAX_AGE.search(reply.headers.get("Cache-Control", ""))
            return Fetched(bytes(body), int(age[1]) if age else None)


@dataclass(frozen=True)
class _Keys:
    """What the issuer had at a time, by our clock, in seconds."""

    keys: tuple[Jwk, ...] = ()
    fetched: float = -math.inf
    fresh_until: float = -math.inf

    def find(self, kid: str | None, algorithm: str) -> Jwk | None:
        """The key of that name that suits the algorithm, if it is the only one. Without a
        name, all are asked that suit.
        """
        found = [
            key
            for key in self.keys
            if (kid is None or key.get("kid") == kid) and _suits(key, algorithm)
        ]
        return found[0] if len(found) == 1 else None


def _suits(key: Jwk, algorithm: str) -> bool:
    kind, curve = ALGORITHMS[algorithm]
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == kind
        and key.get("crv") == curve
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        # A private key that was published is no proof of anything.
        and "d" not in key
    )


class IssuerKeys:
    """The keys of one issuer, from `jwks_uri` or from where its description says.

    They are fetched when they are first needed, when they are no longer fresh (300 s, or
    what the issuer's Cache-Control says), and when a key is wanted that is not among them.
    `clock` gives seconds. Raises ConfigurationError for an address that must not be used.
    """

    def __init__(
        self, issuer: str, jwks_uri: str | None, fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        try:
            _check(issuer if jwks_uri is None else jwks_uri)
        except _Unusable as error:
            name = "issuer" if jwks_uri is None else "jwks_uri"
            raise ConfigurationError(f"The {name} is {error}.") from None
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._known = _Keys()
        self._fetching: threading.Thread | None = None
        self._began = self._failed = self._missed = -math.inf
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)

    def find(self, kid: str | None, algorithm: str) -> Jwk | None:
        """The key of that name for that algorithm; None if the issuer has none, or none
        that is meant for certain. Raises Busy if that cannot be told now.
        """
        known = self._known
        key = known.find(kid, algorithm)
        if key is not None and self._clock() < known.fresh_until:
            return key
        certain = self._renew(known, kid, algorithm)
        known = self._known
        key = known.find(kid, algorithm)
        if key is not None and self._clock() < known.fetched + STALE_SECONDS:
            return key
        if key is None and certain:
            return None
        # An unknown key may be a new one as long as the issuer has not been asked.
        raise Busy("The issuer of tokens cannot be reached; try again.")

    def _renew(self, known: _Keys, kid: str | None, algorithm: str) -> bool:
        """Fetch the keys, or wait for who does; `known` are those that did not do. Tells
        whether what is known now is what the issuer has, as far as it may be asked.
        """
        with self._lock:
            if self._known is not known:
                return True
            now = self._clock()
            if self._fetching is None:
                if now < self._failed + PAUSE_SECONDS:
                    return False
                if now < self._missed + PAUSE_SECONDS:
                    return True
                thread = threading.Thread(
                    target=self._run, args=(kid, algorithm), name="issuer-keys", daemon=True
                )
                thread.start()
                self._fetching, self._began = thread, now
            fetching, began = self._fetching, self._began
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            fetching.join(max(0.0, began + FETCH_SECONDS - now))
        finally:
            self._waiting.release()
        return self._known is not known

    def _run(self, kid: str | None, algorithm: str) -> None:
        keys: _Keys | None = None
        try:
            keys = self._ask()
        except _Unusable as error:
            _LOG.warning("no keys from the issuer %s: %s", self._issuer, error)
        except Exception as error:  # noqa: BLE001 - whatever it was, there are no new keys
            _LOG.warning("no keys from the issuer %s: %s", self._issuer, type(error).__name__)
        with self._lock:
            self._fetching = None
            if keys is None:
                self._failed = self._clock()
                return
            self._known = keys
            if keys.find(kid, algorithm) is None:
                self._missed = self._clock()

    def _ask(self) -> _Keys:
        uri = self._jwks_uri
        if uri is None:
            description = _document(
                self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
            )
            if description.get("issuer") != self._issuer:
                raise _Unusable("a description of another issuer")
            uri = description.get("jwks_uri")
            if not isinstance(uri, str):
                raise _Unusable("a description without jwks_uri")
            # A public issuer must not lead us to this machine's own network.
            _check(uri, plain=self._issuer.startswith("http:"))
        fetched = self._fetch(uri)
        keys = _document(fetched).get("keys")
        if not isinstance(keys, list):
            raise _Unusable("no JSON Web Key Set")
        lowest, highest = _FRESH_BOUNDS
        age = _FRESH_SECONDS if fetched.max_age is None else fetched.max_age
        now = self._clock()
        return _Keys(
            keys=tuple(key for key in keys if isinstance(key, dict)),
            fetched=now,
            fresh_until=now + min(max(age, lowest), highest),
        )


def _document(fetched: Fetched) -> dict[str, Any]:
    document = json.loads(fetched.body)
    if not isinstance(document, dict):
        raise _Unusable("no JSON object")
    return document


def _check(url: str, plain: bool = True) -> None:
    """Refuse an address that is not https. `plain` allows http on this machine as well."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _Unusable("an address that is none") from None
    if not host or "@" in parts.netloc:
        raise _Unusable("an address without a host, or with a user")
    if parts.scheme != "https" and not (plain and parts.scheme == "http" and _loopback(host)):
        raise _Unusable("an address that is not https")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
