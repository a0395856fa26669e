"""Exchange a share's secret for tokens: the code flow of Open Cloud Mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from efss_transfer.webdav.credentials.credential import AccessToken
from efss_transfer.webdav.credentials.token_endpoint import RequestSigner, TokenEndpoint
from efss_transfer.webdav.http.connections import Connections, Origin
from efss_transfer.webdav.ocm.discovery import Peer
from efss_transfer.webdav.ocm.share import Share, ShareUnusable

_NO_CLIENT: Final = (
    "The share requires token exchange, for which the receiving server needs a name: `client_id`."
)
_NO_ENDPOINT: Final = (
    "The share requires token exchange, and the sender's server names no `tokenEndPoint`."
)
_ELSEWHERE: Final = (
    "The sender's server names a `tokenEndPoint` at another host, or one without TLS. The share's "
    "secret is not sent there."
)
_SIGNED: Final = frozenset({"http-sig", "must-use-http-sig"})
_UNSIGNED: Final = " It wants signed requests, and this request has no `signing_key`."


class CodeFlow:
    """The exchange at one token endpoint. The same request is sent again for each token."""

    def __init__(self, form: dict[str, str], endpoint: TokenEndpoint, hint: str) -> None:
        self._form = form
        self._endpoint = endpoint
        self.hint = hint
        """What to say with a failure, besides its own words."""

    async def fetch(self) -> AccessToken:
        """Return a new token. Raises NoToken."""
        return await self._endpoint.ask(self._form, None)


def code_flow(
    share: Share,
    peer: Peer,
    connections: Connections,
    keep_secret: Callable[[str], None],
    signer: RequestSigner | None,
) -> CodeFlow | None:
    """Return how a share's secret is exchanged; None if it need not be, and cannot.

    Raises ShareUnusable if it must be, and cannot.
    """
    reason = _obstacle(share, peer)
    if reason is not None and share.must_exchange:
        raise ShareUnusable("unsupported", reason)
    is_offered = "exchange-token" in peer.offers or share.must_exchange
    if reason is not None or not is_offered or share.client is None or peer.token_endpoint is None:
        return None
    form = {
        "grant_type": "authorization_code",
        "client_id": share.client,
        "code": share.secret,
    }
    endpoint = TokenEndpoint("tokenEndPoint", peer.token_endpoint, connections, keep_secret, signer)
    return CodeFlow(form, endpoint, _UNSIGNED if peer.offers & _SIGNED and not signer else "")


def _obstacle(share: Share, peer: Peer) -> str | None:
    if share.client is None:
        return _NO_CLIENT
    if peer.token_endpoint is None:
        return _NO_ENDPOINT
    try:
        origin = Origin.of(peer.token_endpoint)
    except ValueError:
        return _ELSEWHERE
    return None if share.may_have_secret(origin) else _ELSEWHERE
