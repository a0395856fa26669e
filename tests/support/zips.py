"""Zips as a Nextcloud sends them, and such as it should not send."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import Final

ZIP_END: Final = b"PK\5\6" + bytes(18)
"""The end of a zip without entries."""

Entries = list[tuple[str, bytes]]


def zip_entry(
    name: str, content: bytes, *, crc: int | None = None, size: int | None = None
) -> bytes:
    """An entry as Nextcloud sends it: its size and CRC after its content."""
    raw = name.encode()
    crc = zlib.crc32(content) if crc is None else crc
    size = len(content) if size is None else size
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0x808, 0, 0, 33, 0, 0, 0, len(raw), 0)
    return head + raw + content + struct.pack("<4sIQQ", b"PK\7\x08", crc, size, size)


def entries_of(archive: bytes) -> Entries:
    """The entries of a zip, in their order; a folder's has no content."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return [(one.filename, opened.read(one)) for one in opened.infolist()]


def zip_of(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of these entries."""
    return b"".join(zip_entry(*one) for one in entries) + ZIP_END
