"""What a server says about its archiver, as oCIS and OpenCloud do in their capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from efss_transfer.webdav.http.connections import Origin
from efss_transfer.webdav.paths import Segments, encoded, segments
from efss_transfer.webdav.recognition import member

_FORMAT: Final = "zip"
# Version 1, of ownCloud 10, takes names and no ids.
_OLDEST: Final = 2


@dataclass(frozen=True, slots=True)
class ArchiverOffer:
    """The archiver's path, and how many files and bytes one archive may have."""

    target: str
    most_files: int
    most_bytes: int


def offered(archivers: Any, site: Segments, origin: Origin) -> ArchiverOffer | None:
    """Return the first archiver of the capability that can be used; None if there is none.

    `site` is the path of the server's site, below which a relative URL is. One at another origin is
    not used: the credential must not go there.
    """
    for one in archivers if isinstance(archivers, list) else ():
        if member(one, "enabled") is not True or not _is_known(member(one, "version")):
            continue
        formats, url = member(one, "formats"), member(one, "archiver_url")
        files, size = _limit(member(one, "max_num_files")), _limit(member(one, "max_size"))
        target = _target(url, site, origin) if isinstance(url, str) else None
        has_zip = isinstance(formats, list) and _FORMAT in formats
        if has_zip and target is not None and files and size:
            return ArchiverOffer(target, files, size)
    return None


def _is_known(version: Any) -> bool:
    major = str(version).partition(".")[0]
    return major.isascii() and major.isdigit() and len(major) < 4 and int(major) >= _OLDEST


def _limit(told: Any) -> int:
    """Return a limit, which servers send as text; 0 for what is none."""
    text = str(told)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _target(url: str, site: Segments, origin: Origin) -> str | None:
    """Return the path of an archiver's URL at this origin; None for any other URL."""
    try:
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            return None
        if not parts.scheme and not parts.netloc:
            return encoded((*site, *segments(parts.path)))
        return encoded(segments(parts.path)) if Origin.of(url) == origin else None
    except ValueError:
        return None
