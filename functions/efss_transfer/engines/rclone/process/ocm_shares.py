"""Turn a source that is a share of Open Cloud Mesh into the WebDAV endpoint that it is."""

from __future__ import annotations

import posixpath
import time
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from efss_transfer.egress.proxy import Guard
from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.rc.jobs import TransferInterrupted
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.refusals import EndRefused
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.model.errors import CODES
from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import Failure, Side
from efss_transfer.webdav.credentials.credential import Credential
from efss_transfer.webdav.http.connections import Connections, NoAnswer
from efss_transfer.webdav.ocm.opening import OpenedShare, ShareOpener
from efss_transfer.webdav.ocm.share import Share, ShareUnusable
from efss_transfer.webdav.ocm.signatures import SiteSigner

_MOST: Final = 64
_MOST_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_HIDDEN: Final = "The share cannot be read."
_SLOW: Final = "The sender's server did not answer in time."


@dataclass(frozen=True)
class SharedSource:
    """A source that is a share: its WebDAV endpoint, and how its gateway signs in there."""

    endpoint: Endpoint
    credential: Credential
    connections: Connections


def open_source(
    endpoint: Endpoint, guard: Guard, route: SideRoute, context: Context, redactor: Redactor
) -> SharedSource:
    """Ask the sender's server for a share. Raises EndRefused and TransferInterrupted."""
    connections = Connections(route.dial, proxy=route.proxy, most=_MOST)
    try:
        opener = ShareOpener(
            Share.of(endpoint.parameters),
            connections,
            route.may_redirect,
            lambda token: redactor.add((token,)),
        )
        signer = _signer(endpoint)
        opened = _awaited(guard.start(lambda: opener.open(signer)), context)
    except BaseException as error:
        guard.call_soon(connections.close)
        if isinstance(error, NoAnswer):
            raise EndRefused(classify(str(error), Side.SOURCE, redactor)) from error
        if isinstance(error, ShareUnusable):
            raise EndRefused(
                _failure(error.code, redactor.redact(error.message, _HIDDEN))
            ) from error
        raise
    return SharedSource(_webdav(endpoint, opened), opened.credential, connections)


def _signer(endpoint: Endpoint) -> SiteSigner | None:
    """What signs requests for tokens, if the endpoint has a key. Raises ShareUnusable."""
    key = endpoint.parameters.get("signing_key")
    if key is None:
        return None
    try:
        return SiteSigner(str(key), str(endpoint.parameters["signing_key_id"]))
    except ValueError as error:
        raise ShareUnusable("unsupported", f"The `signing_key` is {error}.") from None


def _awaited(asked: Future[OpenedShare], context: Context) -> OpenedShare:
    until = time.monotonic() + _MOST_SECONDS
    try:
        while time.monotonic() < until:
            try:
                return asked.result(_POLL_SECONDS)
            except TimeoutError:
                if (state := context.end_state()) is not None:
                    raise TransferInterrupted(state) from None
    except CancelledError:
        pass
    raise EndRefused(_failure("storage_unreachable", _SLOW))


def _webdav(endpoint: Endpoint, opened: OpenedShare) -> Endpoint:
    """The endpoint of a share. A share that is one file is a file in the folder above it."""
    url, path = opened.url, endpoint.path
    if opened.is_file and not path.strip("/"):
        url, name = posixpath.split(url.rstrip("/"))
        path = unquote(name)
    return replace(
        endpoint, type="webdav", parameters={"url": url}, path=path, target_forms={"url": "url"}
    )


def _failure(code: str, message: str) -> Failure:
    return Failure(code, message, CODES[code].retryable, Side.SOURCE)
