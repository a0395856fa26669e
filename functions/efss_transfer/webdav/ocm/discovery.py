"""Ask a server of Open Cloud Mesh for its addresses and capabilities."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urljoin

from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Origin
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.ocm.share import Share, ShareUnusable
from efss_transfer.webdav.recognition import member

_LONGEST: Final = 1 << 18
# The draft's address, and that of servers before it.
_PATHS: Final = ("/.well-known/ocm", "/ocm-provider")
_DISABLED: Final = "The sender's server says that Open Cloud Mesh is disabled there."
_NO_ROOT: Final = "The sender's server names no WebDAV path for the files that it shares."
_ELSEWHERE: Final = (
    "The sender's server names an address at another host for its shares, or one without TLS. The "
    "share's secret is not sent there."
)


@dataclass(frozen=True)
class Peer:
    """What a server says about itself. Its words are untrusted: `None` for what is no text."""

    server: Origin
    root: str | None
    token_endpoint: str | None
    offers: frozenset[str]
    """Its capabilities and criteria."""

    def address(self, share: Share) -> str:
        """Return the URL of a share. Raises ShareUnusable."""
        if share.is_absolute:
            return share.uri
        if self.root is None or ".." in self.root.split("/"):
            raise ShareUnusable("unsupported", _NO_ROOT)
        try:
            root = urljoin(f"{self.server}/", self.root)
            is_elsewhere = not share.may_have_secret(Origin.of(root))
        except ValueError:
            is_elsewhere = True
        if is_elsewhere or "?" in root or "#" in root:
            raise ShareUnusable("unsupported", _ELSEWHERE)
        return posixpath.join(root, quote(share.uri.strip("/"), safe="/%:@+,;=~!$&'()*"))


async def discover(upstream: Upstream) -> Peer:
    """Return what the server at an origin says about itself.

    Raises NoAnswer, and ShareUnusable for a server without Open Cloud Mesh.
    """
    statuses = []
    for path in _PATHS:
        async with upstream.call(Call("GET", path, {"Accept": "application/json"})) as answer:
            statuses.append(answer.status)
            body = await answer.text(_LONGEST) if answer.status == 200 else b""
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return _read(upstream.origin, found)
    raise _unanswered(upstream.origin, statuses)


def _read(server: Origin, found: dict[str, Any]) -> Peer:
    if found.get("enabled") is False:
        raise ShareUnusable("unsupported", _DISABLED)
    kinds = found.get("resourceTypes")
    kinds = kinds if isinstance(kinds, list) else []
    # The first one for a server that calls its files by another name.
    kinds = [kind for kind in kinds if member(kind, "name") == "file"] + kinds[:1]
    roots = [member(kind, "protocols", "webdav") for kind in kinds]
    offers = [*_texts(found.get("capabilities")), *_texts(found.get("criteria"))]
    return Peer(
        server,
        next((root for root in roots if isinstance(root, str) and root), None),
        next(iter(_texts([found.get("tokenEndPoint")])), None),
        frozenset(offers),
    )


def _texts(found: Any) -> list[str]:
    return [it for it in found if isinstance(it, str)] if isinstance(found, list) else []


def _unanswered(server: Origin, statuses: list[int]) -> ShareUnusable:
    if any(status in (429, 503) for status in statuses):
        return ShareUnusable("storage_busy", f"{server}: the sender's server is busy.")
    said = " and ".join(
        f"{path} with {'no JSON object' if status == 200 else status}"
        for path, status in zip(_PATHS, statuses, strict=True)
    )
    text = f"{server} does not say where its shares are: it answered {said}. Check `sender`."
    return ShareUnusable("storage_error", text)
