"""Write files as one bulk request (multipart/related), and read its answer (JSON by path)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from efss_transfer.webdav.http.exchange import Held
from efss_transfer.webdav.paths import Segments

# PHP trims these from the value of a header.
_TRIMMED: Final = " \t\n\r\0\x0b"


@dataclass(frozen=True, slots=True)
class BulkFile:
    """A file: `path` below the configured URL, `name` as the request names it."""

    path: Segments
    name: str
    upload: Held
    modified: str | None

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.upload.data)


def may_carry(name: str, modified: str | None) -> bool:
    """Return whether the headers of a part can carry a file's name and modification time."""
    return (
        name.isprintable()
        and name == name.strip(_TRIMMED)
        and "\\" not in name  # the server reads it as a slash here
        and (modified is None or modified.isdecimal())
    )


def request(files: Iterable[BulkFile], boundary: str) -> bytes:
    """Join files into the body of a request.

    Nextcloud 32 and later read `OC-Checksum`; earlier ones `X-File-MD5`. All read `X-File-Mtime`,
    which they call outdated.
    """
    pieces = []
    for file in files:
        times = "".join(
            f"{name}: {file.modified}\r\n"
            for name in ("X-File-Mtime", "X-OC-Mtime")
            if file.modified is not None
        )
        head = (
            f"--{boundary}\r\n"
            f"X-File-Path: {file.name}\r\n"
            f"{times}"
            f"OC-Checksum: sha1:{file.upload.sha1}\r\n"
            f"X-File-MD5: {file.upload.md5}\r\n"
            f"Content-Length: {file.size}\r\n\r\n"
        )
        pieces += [head.encode(), file.upload.data, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def answered(body: bytes) -> dict[str, str | None] | None:
    """Return the ETag of each file that was stored, and None for each that was refused.

    None if it is no answer to a bulk request.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if said == []:  # PHP writes an empty object so
        return {}
    if not isinstance(said, dict):
        return None
    return {name: _etag(one) for name, one in said.items()}


def _etag(said: object) -> str | None:
    if not isinstance(said, dict) or said.get("error") is not False:
        return None
    etag = said.get("etag")
    return etag.strip('"') if isinstance(etag, str) and etag.strip('"') else None
