"""What an endpoint's parameters say about signing in at its server."""

from __future__ import annotations

from collections.abc import Callable

from efss_transfer.model.request import Endpoint
from efss_transfer.webdav.credentials.credential import (
    Credential,
    FixedCredential,
    RenewedToken,
    basic,
)
from efss_transfer.webdav.credentials.token_requests import TokenRequests
from efss_transfer.webdav.http.connections import Connections


def credential_of(
    endpoint: Endpoint, connections: Connections, keep_secret: Callable[[str], None]
) -> Credential:
    """Return what to sign in with, which may have to be fetched and renewed.

    Each token that is fetched is passed to `keep_secret`, which keeps it out of logs and answers.
    """
    if endpoint.token_issuers:
        return RenewedToken(TokenRequests(endpoint, connections, keep_secret).fetch)
    user, password = endpoint.parameters.get("user", ""), endpoint.parameters.get("pass", "")
    if user or password:
        return FixedCredential(basic(str(user), str(password)))
    token = endpoint.parameters.get("bearer_token")
    return FixedCredential(f"Bearer {token}" if token else None)
