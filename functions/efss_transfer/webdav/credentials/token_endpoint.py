"""Asks one token endpoint, whose answer is that of RFC 6749, section 5.1."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlencode, urlsplit

from efss_transfer.webdav.credentials.credential import AccessToken, NoToken
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.words import NO_SIGN_IN, Words

_SECONDS: Final = 20.0
_MOST: Final = 1 << 18
_FORM: Final = "application/x-www-form-urlencoded"
# What a server that is busy or broken answers: another request may succeed.
_PASSING: Final = frozenset({408, 425, 429})
_MOST_SHOWN: Final = 200


class RequestSigner(Protocol):
    """Signs requests, so that a server knows who sends them."""

    def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers to add to a request."""


class TokenEndpoint:
    """An address that issues tokens. `name` is what a caller calls it.

    Each token is passed to `keep_secret`, which keeps it out of logs and answers.
    """

    def __init__(
        self,
        name: str,
        url: str,
        connections: Connections,
        keep_secret: Callable[[str], None],
        signer: RequestSigner | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._name = name
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._upstream = Upstream(Origin.of(url), connections, stall_seconds=_SECONDS)
        self._keep_secret = keep_secret
        self._signer = signer

    async def ask(self, form: Mapping[str, str], authorization: str | None) -> AccessToken:
        """Return a new token. Raises NoToken."""
        headers = {"Accept": "application/json"}
        if form:
            headers["Content-Type"] = _FORM
        body = urlencode(form).encode("ascii")
        if self._signer is not None:
            url = f"{self._upstream.origin}{self._target}"
            headers |= self._signer.headers("POST", url, body)
        call = Call("POST", self._target, headers, Held(body), beside=True)
        try:
            async with self._upstream.call(call, authorization) as answer:
                status, text = answer.status, await answer.text(_MOST)
        except NoAnswer as error:
            raise self._none(f"did not answer: {error}", 503, is_final=False) from error
        if status != 200:
            is_final = status < 500 and status not in _PASSING
            said = f"answered {status}{_reason(text)}"
            raise self._none(said, 401 if is_final else 503, is_final=is_final)
        return self._read(text)

    def _read(self, text: bytes) -> AccessToken:
        try:
            found = json.loads(text)
            token, seconds = found["access_token"], found.get("expires_in")
            kind = found.get("token_type", "Bearer")
            if seconds is not None:
                seconds = float(seconds)
            is_usable = (
                isinstance(token, str)
                and bool(token)
                and token.isascii()
                and token.isprintable()
                and " " not in token
                and str(kind).lower() == "bearer"
                and (seconds is None or (math.isfinite(seconds) and seconds > 0))
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            is_usable = False
        if not is_usable:
            raise self._none(
                "answered without a token that can be used: the answer must be a JSON object with "
                "`access_token`, `token_type` (Bearer) and, if it is known, `expires_in`",
                401,
                is_final=True,
            )
        self._keep_secret(token)
        return AccessToken(token, seconds)

    def _none(self, said: str, status: int, *, is_final: bool) -> NoToken:
        message = f"{NO_SIGN_IN}the `{self._name}` at {self._upstream.origin} {said}."
        return NoToken(Words(status, message=message), is_final=is_final)


def _reason(text: bytes) -> str:
    """What an error answer says (RFC 6749, section 5.2)."""
    try:
        found = json.loads(text)
        words = [str(found[name]) for name in ("error", "error_description") if found.get(name)]
    except (ValueError, TypeError, AttributeError):
        return ""
    shown = ": ".join(words)[:_MOST_SHOWN]
    return f" ({shown})" if shown else ""
