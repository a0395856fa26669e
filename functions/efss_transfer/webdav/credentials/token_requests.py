"""Fetches access tokens: from a caller's own address, or from an OAuth token endpoint.

The answer of both is that of RFC 6749, section 5.1. Client credentials are section 4.4 of it; the
exchange of a caller's token for one of the storage's is RFC 8693.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote_plus

from efss_transfer.model.request import Endpoint
from efss_transfer.webdav.credentials.credential import AccessToken, NoToken, basic
from efss_transfer.webdav.credentials.token_endpoint import TokenEndpoint
from efss_transfer.webdav.http.connections import Connections

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"


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
        (issuer,) = endpoint.token_issuers  # the schema allows one
        url = str(self._parameters[issuer])
        self._endpoint = TokenEndpoint(issuer, url, connections, keep_secret)
        self._last: AccessToken | None = None

    async def fetch(self) -> AccessToken:
        """Return a new token. Raises NoToken."""
        if (secret := self._parameters.get("token_source_secret")) is not None:
            return await self._endpoint.ask({}, f"Bearer {secret}")
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
        return await self._endpoint.ask(
            form, basic(quote_plus(str(client)), quote_plus(str(secret)))
        )
