"""Tries out which ways a storage copies by itself."""

from __future__ import annotations

import math

from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.third_party.checking import CopyFailed
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.tpc.delegation import Delegation
from efss_transfer.engines.tpc.third_party import ThirdPartyCopies, Way
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused


async def possible_ways(
    source: End, destination: End, path: Segments, to: Segments, redactor: Redactor
) -> tuple[str, ...]:
    """The ways in which a storage copied a file: `pull`, `push`, both or none.

    Both ends are the same storage. The signed-in requests are those of a copy.
    """
    found = []
    for way in Way:
        # A storage that has copied in one way says nothing about the other.
        delegation = Delegation(math.inf, lambda secret: redactor.add([secret]))
        copies = ThirdPartyCopies(source, destination, delegation, redactor)
        try:
            await copies.copy_by(way, path, to)
        except (CopyFailed, Failed, Refused, NoAnswer):
            continue
        found.append(way.value)
    return tuple(found)
