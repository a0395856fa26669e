"""Recognise a server by what it says about itself, before the engine's first request.

A request often names no vendor, or one that merely works. But a server that is not treated as
what it is loses data about files: a MOVE over a file at Nextcloud takes its id, its shares and
its versions with it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any, Final

from efss_transfer.webdav.dialects import NEXTCLOUD, OCIS, OWNCLOUD, Dialect
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.paths import Segments, encoded, segments

SECONDS: Final = 3.0
"""How long the questions may take in all."""

_LONGEST: Final = 1 << 18
_SCRIPTS: Final = ("remote.php", "public.php")
_FOLDERS: Final = ("dav", "webdav")
_CAPABILITIES: Final = "/ocs/v1.php/cloud/capabilities?format=json"
_FIRST_WITH_ARCHIVES: Final = 31  # of Nextcloud
_PRODUCTS: Final = {
    "nextcloud": NEXTCLOUD,
    "owncloud": OWNCLOUD,
    "infinite scale": OCIS,
    "opencloud": OCIS,
}


def site(home: str) -> str | None:
    """Return the path of the site that a WebDAV path belongs to.

    None if the path has no form that an EFSS uses: such a server is not asked.
    """
    try:
        names = segments(home)
    except ValueError:
        return None
    for known in (_SCRIPTS, _FOLDERS):
        if (at := _first(names, known)) is not None:
            return encoded(names[:at])
    return None


async def recognised(upstream: Upstream, home: str, named: Dialect) -> Dialect:
    """Return the dialect of the server, or the one that was named if its answers are unclear.

    No credential is sent: if it is wrong, the server would count one more failed login. Raises
    nothing that a request to the server raises.
    """
    path = site(home)
    if path is None:
        return named
    try:
        async with asyncio.timeout(SECONDS):
            found = _of_status(await _answer(upstream, f"{path}/status.php"))
            if found is None:
                found = _of_capabilities(await _answer(upstream, f"{path}{_CAPABILITIES}"))
    except (TimeoutError, NoAnswer):
        found = None
    return found or named


def _first(names: Segments, known: tuple[str, ...]) -> int | None:
    return next((at for at, name in enumerate(names) if name in known), None)


async def _answer(upstream: Upstream, target: str) -> Any:
    """Return the JSON that the server answers, None for any other answer."""
    # OCS refuses a request without the header.
    call = Call("GET", target, {"OCS-APIRequest": "true"}, beside=True)
    async with upstream.call(call) as answer:
        if answer.status != 200:
            return None
        body = await answer.text(_LONGEST)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _of_status(said: Any) -> Dialect | None:
    """Recognise the product in status.php; None for another or a renamed one."""
    for product in ("productname", "product"):
        name = member(said, product)
        if isinstance(name, str) and (found := _PRODUCTS.get(name.strip().lower())) is not None:
            return _of_version(found, str(member(said, "version")).partition(".")[0])
    return None


def _of_version(found: Dialect, major: str) -> Dialect:
    """Return what a Nextcloud of this version can do, if it tells one."""
    if found is not NEXTCLOUD or not (major.isascii() and major.isdigit() and len(major) < 4):
        return found
    version = int(major)
    return replace(found, version=version, archives=version >= _FIRST_WITH_ARCHIVES)


def _of_capabilities(said: Any) -> Dialect | None:
    """Recognise the product by capabilities that only it has."""
    offered = member(said, "ocs", "data", "capabilities")
    if member(offered, "files", "tus_support"):
        return OCIS
    if (
        member(offered, "theming")
        or member(offered, "dav", "bulkupload")
        or member(offered, "files", "chunked_upload")
    ):
        version = member(said, "ocs", "data", "version", "major")
        return _of_version(NEXTCLOUD, str(version))
    return OWNCLOUD if member(offered, "checksums") else None


def member(said: Any, *names: str) -> Any:
    """Return a member inside parsed JSON; None if there is none."""
    for name in names:
        said = said.get(name) if isinstance(said, dict) else None
    return said
