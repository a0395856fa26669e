"""Asks an EFSS for its product and version."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from efss_transfer.model.storage_check import ServerProduct
from efss_transfer.webdav import recognition
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call

_LONGEST_ANSWER: Final = 1 << 16
_LONGEST_TEXT: Final = 64


async def product_of(upstream: Upstream, home: str) -> ServerProduct | None:
    """What the site of a WebDAV path says in status.php; None if it is no EFSS or says nothing.

    No credential is sent. Raises nothing that a request to the server raises.
    """
    site = recognition.site(home)
    if site is None:
        return None
    try:
        async with asyncio.timeout(recognition.SECONDS):
            call = Call("GET", f"{site}/status.php", beside=True)
            async with upstream.call(call) as answer:
                body = await answer.text(_LONGEST_ANSWER) if answer.status == 200 else b""
        said = json.loads(body)
    except (TimeoutError, NoAnswer, ValueError, RecursionError):
        return None
    # ownCloud Infinite Scale and OpenCloud have `product` beside a `productname` of the theme.
    name = _text(said, "product") or _text(said, "productname")
    version = _text(said, "productversion") or _text(said, "versionstring")
    return None if name is None else ServerProduct(name, version)


def _text(said: Any, member: str) -> str | None:
    """A short text of parsed JSON; None if it has none that can be shown."""
    found = recognition.member(said, member)
    if not isinstance(found, str) or not found.strip().isprintable():
        return None
    return found.strip()[:_LONGEST_TEXT] or None
