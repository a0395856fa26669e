"""Headers of the engine's uploads that are passed on to the server."""

from __future__ import annotations

from typing import Final

from efss_transfer.webdav.dialects import Dialect
from efss_transfer.webdav.http.server import EngineRequest

_PASSED: Final = ("content-type", "x-oc-mtime", "oc-checksum")


def passed(request: EngineRequest, dialect: Dialect) -> dict[str, str]:
    """Return them, without a modification time that the server does not take."""
    headers = {name: text for name in _PASSED if (text := request.header(name)) is not None}
    given = headers.get("x-oc-mtime")
    if given is not None and not dialect.accepts_time(given):
        # The server would refuse the whole file because of it, after every byte was sent.
        del headers["x-oc-mtime"]
    return headers
