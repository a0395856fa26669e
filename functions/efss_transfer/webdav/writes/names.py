"""Names of uploads beside their files, and names that servers mistake in a MOVE."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

from efss_transfer.webdav.paths import Segments

PARTIAL: Final = re.compile(r"\.efss-transfer-([0-9a-f]{8})[0-9a-f]{8}\.partial")
"""Names of incomplete uploads beside a file: their start time, then random digits."""


def partial_name() -> str:
    """Make up a name for an upload beside its file. If it is left, a later gateway removes it."""
    return f".efss-transfer-{int(time.time()):08x}{secrets.token_hex(4)}.partial"


def survive_moves(path: Segments) -> bool:
    """Return whether every server finds the path in a Destination.

    WsgiDAV decodes the header before it looks for parameters and a query, so it moves a file to
    the part of the name before a `;` or `?`, where another file may be.
    """
    return not any(mark in name for name in path for mark in ";?")
