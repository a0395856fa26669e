"""Names that servers mistake in the header Destination of a MOVE."""

from __future__ import annotations

from efss_transfer.webdav.paths import Segments


def survive_moves(path: Segments) -> bool:
    """Return whether every server finds the path in a Destination.

    WsgiDAV decodes the header before it looks for parameters and a query, so it moves a file to
    the part of the name before a `;` or `?`, where another file may be.
    """
    return not any(mark in name for name in path for mark in ";?")
