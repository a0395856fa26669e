"""Authenticates callers by the bearer token in the Authorization header (RFC 6750).

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
REFUSED: Final = "This service does not accept the token."

_LOG: Final = logging.getLogger(__name__)
_MAX_TOKEN_LENGTH: Final = 16 << 10
_MAX_NAME_LENGTH: Final = 256
_MAX_LOGGED_LENGTH: Final = 64
# One scheme and one token68 (RFC 9110), with nothing before or after.
_BEARER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)", re.ASCII)
# The accepted values of a token's `typ`. Issuers sign other types for other purposes, such as
# a logout, and those must not authenticate anyone.
_TOKEN_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_TIME_CLAIMS: Final = ("exp", "nbf", "iat")


class Authenticator(Protocol):
    """A way to authenticate callers."""

    def caller(self, authorization: str | None) -> str:
        """The name of the caller that sent this Authorization header; None is no header.

        Raises Unauthenticated; and Busy if the token cannot be checked now. A retry is safe
        then.
        """


class NoAuthentication:
    """Mode `none`: every caller is `anonymous`."""

    def caller(self, authorization: str | None) -> str:  # noqa: ARG002 - the protocol's signature
        """Return `anonymous`, whatever the header is. Never raises."""
        return "anonymous"


@dataclass(frozen=True)
class Token:
    """A caller's token: its SHA-256 as 64 hexadecimal digits, and when it expires.

    `expires` has a time zone; None means never.
    """

    caller: str
    sha256: str
    expires: datetime | None = None


class TokenAuthenticator:
    """Mode `tokens`: accepts the tokens that the site file lists by their SHA-256.

    A token must be random, with at least 128 bits (`openssl rand -hex 32`). Nobody can then
    find it from its hash by trying, so it needs no slow hash as passwords do. A caller may
    have several tokens, so that a new one can be issued before the old one expires. Raises
    ConfigurationError for duplicate entries, and for times without a time zone.
    """

    def __init__(self, entries: Sequence[Token]) -> None:
        for entry in entries:
            if entry.expires is not None and entry.expires.utcoffset() is None:
                raise ConfigurationError(
                    f"`expires` of a token of {entry.caller!r} has no time zone."
                )
        self._entries = tuple((bytes.fromhex(entry.sha256), entry) for entry in entries)
        if len({digest for digest, _ in self._entries}) < len(self._entries):
            raise ConfigurationError("The site file lists the same token twice.")

    def caller(self, authorization: str | None) -> str:
        """The caller to whom the token belongs. Raises Unauthenticated."""
        presented = hashlib.sha256(_bearer(authorization).encode("ascii")).digest()
        found: Token | None = None
        # Every entry is compared, even after a match and if it has expired, so that the time
        # taken does not reveal which entry matched, or whether one did.
        for digest, entry in self._entries:
            if hmac.compare_digest(presented, digest):
                found = entry
        if found is None:
            raise _refusal("unknown token")
        if found.expires is not None and found.expires <= datetime.now(UTC):
            raise _refusal("expired token")
        return found.caller


class OidcAuthenticator:
    """Mode `oidc`: accepts JSON Web Tokens that one issuer signed for this service.

    Args:
        issuer: The issuer's URL, which the claim `iss` must equal.
        audience: The claim `aud` must have one of these.
        algorithms: The only signature algorithms that are accepted.
        jwks_uri: The URL of the issuer's keys; None takes it from the issuer's metadata.
        caller_claim: The claim that has the caller's name.
        leeway_seconds: By how much the issuer's clock and this machine's may differ.
        required_scope: If given, a word that the claim `scope` must have.
        fetch: Fetches a URL; tests replace it.
        clock: A monotonic clock in seconds, for the age of keys.

    Raises ConfigurationError if one of them cannot be used.

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
        # Imported here because only this mode needs cryptography, whose import takes as long
        # as everything else at start.
        import jwt

        from efss_transfer.auth import oidc

        self._jwt: Final = jwt
        # An algorithm with a shared secret would accept the issuer's public key as the secret.
        unusable = [name for name in algorithms if name not in oidc.ALGORITHMS]
        if unusable or not algorithms:
            raise ConfigurationError(
                f"`algorithms` may have {', '.join(sorted(oidc.ALGORITHMS))}"
                f"{', but not ' + ', '.join(unusable) if unusable else ''}."
            )
        if not all(audience) or not audience:
            raise ConfigurationError(
                "`audience` must name this service, so that tokens for other services are refused."
            )
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._caller_claim = caller_claim
        self._leeway = leeway_seconds
        self._scope = required_scope
        self._keys = oidc.IssuerKeys(issuer, jwks_uri, fetch or oidc.fetch, clock)

    def caller(self, authorization: str | None) -> str:
        """The caller that the token names.

        Raises Unauthenticated; and Busy if the issuer's keys are unavailable. A retry is safe
        then.
        """
        token = _bearer(authorization)
        header: Mapping[str, Any] = {}
        # `from None`, because PyJWT's errors quote the token's content.
        try:
            header = self._jwt.get_unverified_header(token)
            return self._name(self._claims(token, header))
        except _Refused as refused:
            raise _refusal(str(refused), header.get("kid")) from None
        except self._jwt.PyJWTError as error:
            raise _refusal(type(error).__name__, header.get("kid")) from None

    def _claims(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """The token's claims, after its signature, issuer, audience and times are checked.

        Header members that carry or locate a key (`jwk`, `jku`, `x5u`) are ignored, because
        the token's author chose them.
        """
        algorithm, token_type = header.get("alg"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _Refused("algorithm not allowed")
        if not isinstance(token_type, str) or token_type.lower() not in _TOKEN_TYPES:
            raise _Refused("wrong token type")
        if "crit" in header:
            raise _Refused("critical extension")
        key = self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise _Refused("unknown key")
        claims: dict[str, Any] = self._jwt.decode(
            token,
            self._jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=self._leeway,
            options={"require": ["iss", "aud", "exp"], "enforce_minimum_key_length": True},
        )
        # PyJWT accepts times that are strings or booleans.
        if not all(type(claims[name]) in (int, float) for name in _TIME_CLAIMS if name in claims):
            raise _Refused("time claim is not a number")
        return claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        scope = claims.get("scope")
        if self._scope and not (isinstance(scope, str) and self._scope in scope.split(" ")):
            raise _Refused("required scope missing")
        name = claims.get(self._caller_claim)
        if not isinstance(name, str) or not name.isprintable():
            raise _Refused("caller's name is not printable text")
        if not 0 < len(name) <= _MAX_NAME_LENGTH:
            raise _Refused("caller's name is empty or too long")
        return name


class _Refused(Exception):
    """A token is refused; the text is the reason, and quotes nothing from the token."""


def _bearer(authorization: str | None) -> str:
    if not authorization:
        _LOG.info("caller refused: no Authorization header")
        raise Unauthenticated(MISSING)
    # Checked before the pattern, to bound the text that the pattern searches.
    if len(authorization) > _MAX_TOKEN_LENGTH + len("Bearer "):
        raise _refusal("header too long")
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise _refusal("not a bearer token")
    return match[1]


def _refusal(reason: str, kid: object = None) -> Unauthenticated:
    """The error for every token that is refused, and a log record with the reason.

    The log has nothing of the token but its key id, reduced to printable ASCII and shortened.
    """
    if isinstance(kid, str):
        printable = "".join(c for c in kid if c.isascii() and c.isprintable())
        reason += f" (kid {printable[:_MAX_LOGGED_LENGTH]!r})"
    _LOG.info("caller refused: %s", reason)
    return Unauthenticated(REFUSED)
