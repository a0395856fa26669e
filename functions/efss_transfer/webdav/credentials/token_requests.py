"""Fetches access tokens: from a caller's own address, or from an OAuth token endpoint.

The answer of both is that of RFC 6749, section 5.1. Client credentials are section 4.4 of it; the
exchange of a caller's token for one of the storage's is RFC 8693.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from efss_transfer.model.request import Endpoint
from efss_transfer.webdav.credentials.credential import AccessToken, NoToken, basic
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.words import NO_SIGN_IN, Words

_SECONDS: Final = 20.0
_MOST: Final = 1 << 18
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
_FORM: Final = "application/x-www-form-urlencoded"
# What a server that is busy or broken answers: another request may succeed.
_PASSING: Final = frozenset({408, 425, 429})
_MOST_SHOWN: Final = 200


class TokenRequests:
    """Requests for the tokens of one endpoint, over its gateway's connections.

    Each token is passed to `keep_secret`, which keeps it out of logs and answers.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connections: Connections,
        keep_secret: Callable[[str], None],
    ) -> None:
        self._parameters = endpoint.parameters
        self._keep_secret = keep_secret
        (self._issuer,) = endpoint.token_issuers  # the schema allows one
        self._url = str(self._parameters[self._issuer])
        self._upstream = Upstream(Origin.of(self._url), connections, stall_seconds=_SECONDS)
        self._last: AccessToken | None = None

    async def fetch(self) -> AccessToken:
        """Return a new token. Raises NoToken."""
        if (secret := self._parameters.get("token_source_secret")) is not None:
            return await self._ask({}, f"Bearer {secret}")
        given = self._parameters.get("bearer_token")
        try:
            self._last = await self._granted(given)
        except NoToken as error:
            # The caller's token may have ended by now; the one that it was exchanged for has not.
            if given is None or self._last is None or not error.is_final:
                raise
            self._last = await self._granted(self._last.value)
        return self._last

    async def _granted(self, subject: Any) -> AccessToken:
        form = {"grant_type": "client_credentials"}
        if subject is not None:
            form = {
                "grant_type": _EXCHANGE,
                "subject_token": str(subject),
                "subject_token_type": _TYPE,
                "requested_token_type": _TYPE,
            }
        for name in ("scope", "audience"):
            if (value := self._parameters.get(f"token_{name}")) is not None:
                form[name] = str(value)
        client, secret = self._parameters["client_id"], self._parameters["client_secret"]
        return await self._ask(form, basic(quote_plus(str(client)), quote_plus(str(secret))))

    async def _ask(self, form: Mapping[str, str], authorization: str) -> AccessToken:
        parts = urlsplit(self._url)
        headers = {"Accept": "application/json"}
        if form:
            headers["Content-Type"] = _FORM
        body = Held(urlencode(form).encode("ascii"))
        call = Call("POST", parts.path or "/", headers, body, beside=True)
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
        message = f"{NO_SIGN_IN}the `{self._issuer}` at {self._upstream.origin} {said}."
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
