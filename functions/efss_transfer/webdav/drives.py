"""Ask oCIS for the free space of a space.

Its WebDAV tells as available what a space may hold in all, whatever is used (seen with OpenCloud
0.1.0). Its Graph API tells what remains.
"""

from __future__ import annotations

import json
from typing import Any, Final

from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.paths import encoded, segments
from efss_transfer.webdav.session import Failed, ServerSession

_DRIVES: Final = ("graph", "v1.0", "me", "drives")
_LONGEST: Final = 1 << 20


async def remaining(session: ServerSession) -> int | None:
    """Return how many bytes fit into the space of the configured URL; None if that is unknown."""
    home = segments(session.home)
    starts = [at for at, name in enumerate(home) if name in ("remote.php", "dav", "webdav")]
    if not starts:
        return None
    call = Call("GET", encoded((*home[: starts[0]], *_DRIVES)))
    try:
        async with session.call(call, "") as answer:
            body = await answer.text(_LONGEST) if answer.status == 200 else b""
    except (Failed, NoAnswer):
        session.record.succeed("")  # the upload itself is to tell it
        return None
    try:
        found = [one for one in json.loads(body)["value"] if _is_meant(one, home)]
        left = found[0]["quota"]["remaining"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return left if isinstance(left, int) and left >= 0 else None


def _is_meant(drive: dict[str, Any], home: tuple[str, ...]) -> bool:
    if "spaces" in home[:-1]:
        return bool(drive["id"] == home[home.index("spaces") + 1])
    return bool(drive["driveType"] == "personal")
