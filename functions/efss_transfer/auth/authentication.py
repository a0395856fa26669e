"""Who calls: the bearer token of the Authorization header (RFC 6750), and whose it is.

A site file chooses one of three modes: `NoAuthentication` asks for nothing, `TokenAuthenticator`
accepts the tokens that the site file lists, and `OidcAuthenticator` accepts tokens that an issuer
has signed (OpenID Connect).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from efss_transfer.model.errors import ConfigurationError, Unauthenticated

if TYPE_CHECKING:
    from efss_transfer.auth.oidc import Fetch

MISSING: Final = "Send a bearer token in the Authorization header."
REFUSED: Final = "The token is not accepted here."

_LOG: Final = logging.getLogger(__name__)
_LONGEST_TOKEN: Final = 16 << 10
_LONGEST_NAME: Final = 256
_LONGEST_LOGGED: Final = 64
# One scheme and one token68 (RFC 9110), nothing before, between or behind.
_BEARER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)", re.ASCII)
# What a token may say that it is. Others are signed by the same issuers for other ends,
# such as a logout, and must not let anybody in.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_TIMES: Final = ("exp", "nbf", "iat")


class Authenticator(Protocol):
    """A way to know a caller."""

    def caller(self, authorization: str | None) -> str:
        """The name of who sent this Authorization header; None is no header at all.

        Raises Unauthenticated; and Busy, after which a retry is safe, if that cannot be
        told now.
        """


class NoAuthentication:
    """Mode `none`: everybody may call, and is `anonymous`."""

    def caller(self, authorization: str | None) -> str:  # noqa: ARG002 - whatever is sent
        """`anonymous`. Never raises."""
        return "anonymous"


@dataclass(frozen=True)
class Token:
    """A token of a caller's: the SHA-256 of it, 64 hexadecimal digits, and when it ends.

    `expires` has a time zone; None is never.
    """

    caller: str
    sha256: str
    expires: datetime | None = None


class TokenAuthenticator:
    """Mode `tokens`: those that the site file lists, by their SHA-256.

    A token must be random, of at least 128 bits (`openssl rand -hex 32`): then nobody can
    try all that may lie behind a hash, and a slow hash, as passwords need one, would only
    cost time. A caller may have several, so that a new one can be handed out before the
    old one ends. Raises ConfigurationError for entries that cannot be told apart or used.
    """

    def __init__(self, entries: Sequence[Token]) -> None:
        for entry in entries:
            if entry.expires is not None and entry.expires.utcoffset() is None:
                raise ConfigurationError(
                    f"A token of {entry.caller!r} expires at a time without a time zone."
                )
        self._entries = tuple((bytes.fromhex(entry.sha256), entry) for entry in entries)
        if len({digest for digest, _ in self._entries}) < len(self._entries):
            raise ConfigurationError("The same token is listed twice.")

    def caller(self, authorization: str | None) -> str:
        """Whose token it is. Raises Unauthenticated."""
        presented = hashlib.sha256(_bearer(authorization).encode("ascii")).digest()
        found: Token | None = None
        # All are compared, those that have expired too: how long it takes must not tell
        # which one matched, or that one did.
        for digest, entry in self._entries:
            if hmac.compare_digest(presented, digest):
                found = entry
        if found is None:
            raise _refusal("unknown token")
        if found.expires is not None and found.expires <= datetime.now(UTC):
            raise _refusal("expired token")
        return found.caller


class OidcAuthenticator:
    """Mode `oidc`: JSON Web Tokens, signed by one issuer for this service (`audience`).

    Its keys come from `jwks_uri`, or from where the issuer's own description says.
    `algorithms` are the only ones accepted. The claim `caller_claim` is the caller's name;
    `required_scope`, if given, must be among the words of the claim `scope`. Clocks may
    differ by `leeway_seconds`. Raises ConfigurationError for what cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        audience: tuple[str, ...],
        algorithms: tuple[str, ...],
        jwks_uri: str | None = None,
        caller_claim: str = "sub",
        leeway_seconds: float = 30,
        required_scope: str | None = None,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Here and not above: it brings the cryptography, which takes as long to import as all
        # else that a start needs, and only this mode needs it.
        import jwt

        from efss_transfer.auth import oidc

        self._jwt: Final = jwt
        # An algorithm of a shared secret would take the issuer's public key for it.
        unusable = [name for name in algorithms if name not in oidc.ALGORITHMS]
        if unusable or not algorithms:
            raise ConfigurationError(
                f"Algorithms must be some of {', '.join(sorted(oidc.ALGORITHMS))}"
                f"{': not ' + ', '.join(unusable) if unusable else ''}."
            )
        if not all(audience) or not audience:
            raise ConfigurationError("An audience must be named: a token for others is none here.")
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._caller_claim = caller_claim
        self._leeway = leeway_seconds
        self._scope = required_scope
        self._keys = oidc.IssuerKeys(issuer, jwks_uri, fetch or oidc.fetch, clock)

    def caller(self, authorization: str | None) -> str:
        """Whom the token names. Raises Unauthenticated; and Busy, after which a retry is
        safe, if the issuer's keys are not to be had.
        """
        token = _bearer(authorization)
        header: Mapping[str, Any] = {}
        # `from None`: PyJWT's errors quote what the token says.
        try:
            header = self._jwt.get_unverified_header(token)
            return self._name(self._claims(token, header))
        except _Refused as refused:
            raise _refusal(str(refused), header.get("kid")) from None
        except self._jwt.PyJWTError as error:
            raise _refusal(type(error).__name__, header.get("kid")) from None

    def _claims(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the token claims, once the issuer's signature and its times are checked.

        Members of the header that bring a key along (`jwk`, `jku`, `x5u`) are not looked at:
        whoever made the token chose them.
        """
        algorithm, kind = header.get("alg"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _Refused("algorithm that is not allowed")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise _Refused("token of another type")
        if "crit" in header:
            raise _Refused("critical extension")
        key = self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise _Refused("key that the issuer does not have")
        claims: dict[str, Any] = self._jwt.decode(
            token,
            self._jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=self._leeway,
            options={"require": ["iss", "aud", "exp"], "enforce_minimum_key_length": True},
        )
        # PyJWT takes a time that is written as text, or as true.
        if not all(type(claims[name]) in (int, float) for name in _TIMES if name in claims):
            raise _Refused("time that is no number")
        return claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        scope = claims.get("scope")
        if self._scope and not (isinstance(scope, str) and self._scope in scope.split(" ")):
            raise _Refused("scope that is missing")
        name = claims.get(self._caller_claim)
        if not isinstance(name, str) or not name.isprintable():
            raise _Refused("caller's name that is no printable text")
        if not 0 < len(name) <= _LONGEST_NAME:
            raise _Refused("caller's name that is empty or too long")
        return name


class _Refused(Exception):
    """A token is not accepted; the text is the reason, in words of our own."""


def _bearer(authorization: str | None) -> str:
    if not authorization:
        _LOG.info("caller refused: no Authorization header")
        raise Unauthenticated(MISSING)
    # The length is looked at first, so that no more than that is ever searched.
    if len(authorization) > _LONGEST_TOKEN + len("Bearer "):
        raise _refusal("header too long")
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise _refusal("no bearer token")
    return match[1]


def _refusal(reason: str, kid: object = None) -> Unauthenticated:
    """The one answer to whatever is not accepted. The log has the reason, and nothing of
    the token but the name of its key, cut to what can do a log no harm.
    """
    if isinstance(kid, str):
        printable = "".join(c for c in kid if c.isascii() and c.isprintable())
        reason += f" (kid {printable[:_LONGEST_LOGGED]!r})"
    _LOG.info("caller refused: %s", reason)
    return Unauthenticated(REFUSED)
