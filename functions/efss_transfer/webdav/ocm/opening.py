"""Find a share's address, and the way of signing in that its server takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from efss_transfer.webdav.credentials.credential import (
    Credential,
    FixedCredential,
    NoToken,
    RenewedToken,
    basic,
)
from efss_transfer.webdav.credentials.token_endpoint import RequestSigner
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Call, Held
from efss_transfer.webdav.multistatus import Parser
from efss_transfer.webdav.ocm.code_flow import CodeFlow, code_flow
from efss_transfer.webdav.ocm.discovery import discover
from efss_transfer.webdav.ocm.share import Share, ShareUnusable
from efss_transfer.webdav.reading.bad_listings import BadListing

_SECONDS: Final = 20.0
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""How long to wait, in seconds, for a token endpoint that is busy."""
_LONGEST: Final = 1 << 16
_REJECTED: Final = frozenset({401, 403})
_RESOURCE_TYPE: Final = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop>'
    b"</d:propfind>"
)
_REFUSED: Final = (
    "The sender's server refuses the share's secret, as a bearer token and as a user. The share "
    "may have been withdrawn, or this is the secret of another one."
)


@dataclass(frozen=True)
class OpenedShare:
    """A share's WebDAV address, and what signs in there. `is_file` says that it is one file."""

    url: str
    credential: Credential
    is_file: bool = False


class ShareOpener:
    """Opens one share over the connections of its gateway."""

    def __init__(
        self,
        share: Share,
        connections: Connections,
        may_redirect: Callable[[Origin], bool],
        keep_secret: Callable[[str], None],
    ) -> None:
        self._share = share
        self._connections = connections
        self._may_redirect = may_redirect
        self._keep_secret = keep_secret

    async def open(self, signer: RequestSigner | None = None) -> OpenedShare:
        """Find the share, and sign in there. Raises NoAnswer and ShareUnusable."""
        peer = await discover(self._upstream(self._share.server, self._may_redirect))
        url = peer.address(self._share)
        flow = code_flow(self._share, peer, self._connections, self._keep_secret, signer)
        opened = None if flow is None else await self._by_token(flow, url)
        return opened or await self._by_secret(url)

    async def _by_token(self, flow: CodeFlow, url: str) -> OpenedShare | None:
        """Sign in by tokens; None if that failed and the secret itself may be used."""
        must = self._share.must_exchange
        credential = RenewedToken(flow.fetch)
        try:
            token = await self._first_token(credential, is_patient=must)
        except NoToken as error:
            if not must:
                return None
            if isinstance(error.__cause__, NoAnswer):
                raise error.__cause__ from None
            code = "authentication_failed" if error.is_final else "storage_busy"
            raise ShareUnusable(code, error.said.message + flow.hint) from None
        status, is_file = await self._look(url, token)
        if status in _REJECTED and not must:
            return None
        return OpenedShare(url, credential, is_file)

    async def _first_token(self, credential: RenewedToken, *, is_patient: bool) -> str | None:
        for pause in _PAUSES:
            try:
                return await credential.header()
            except NoToken as error:
                if error.is_final or not is_patient or isinstance(error.__cause__, NoAnswer):
                    raise
            await asyncio.sleep(pause)
        return await credential.header()

    async def _by_secret(self, url: str) -> OpenedShare:
        """Sign in by the share's secret itself, as a bearer token or as a user."""
        for value in self._ways(url):
            status, is_file = await self._look(url, value)
            if status not in _REJECTED:
                return OpenedShare(url, FixedCredential(value), is_file)
        raise ShareUnusable("authentication_failed", _REFUSED)

    def _ways(self, url: str) -> Iterator[str]:
        """Yield the values of Authorization to try, the likelier one first.

        Servers before the draft's shares with an address know only the second way, and slow down
        after a login that failed.
        """
        ways = [f"Bearer {self._share.secret}", basic(self._share.secret, "")]
        is_old = not self._share.uri or "/public.php/" in urlsplit(url).path
        yield from reversed(ways) if is_old else ways

    async def _look(self, url: str, authorization: str | None) -> tuple[int, bool]:
        """Ask for a share. Return the status, and whether it is a single file."""
        parts = urlsplit(url)
        headers = {"Depth": "0", "Content-Type": "application/xml"}
        call = Call("PROPFIND", parts.path or "/", headers, Held(_RESOURCE_TYPE))
        upstream = self._upstream(Origin.of(url))
        async with upstream.call(call, authorization) as answer:
            if answer.status != 207:
                return answer.status, False
            return answer.status, _is_file(await answer.text(_LONGEST))

    def _upstream(
        self, origin: Origin, may_redirect: Callable[[Origin], bool] = lambda _: False
    ) -> Upstream:
        return Upstream(
            origin, self._connections, may_redirect=may_redirect, stall_seconds=_SECONDS
        )


def _is_file(listing: bytes) -> bool:
    parser = Parser()
    try:
        entries = [*parser.feed(listing), *parser.close()]
    except BadListing:
        return False  # the gateway reports it
    return len(entries) == 1 and entries[0].failure is None and not entries[0].collection
