"""Read the files of a zip as it arrives, each held against its size, its CRC and its descriptor.

Such a zip has no sizes before its entries, so the sizes that a listing gave say where each ends.
An archive that is read so cannot be a bomb: only stored entries are read, never compressed ones,
and none has more bytes than were listed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final, Protocol

_FILE: Final = b"PK\3\4"
_DIRECTORY: Final = (b"PK\1\2", b"PK\5\6", b"PK\6\6")
_DESCRIPTOR: Final = b"PK\7\x08"
_HEADER: Final = struct.Struct("<4s5H3I2H")
_WIDE: Final = struct.Struct("<4sIQQ")
_NARROW: Final = struct.Struct("<4sIII")
_HAS_DESCRIPTOR: Final = 0x8
_IS_UTF8: Final = 0x800
_STORED: Final = 0
_FULL: Final = 0xFFFFFFFF
_ZIP64: Final = 1
_LONGEST_NAME: Final = 1 << 12
_LONGEST_EXTRA: Final = 1 << 10
_PIECE: Final = 1 << 16


class BadArchive(Exception):
    """Archive that is cut off, or holds what was not asked for, or other bytes than it says."""


class Readable(Protocol):
    """Body that arrives in pieces."""

    async def read(self, buffer: memoryview) -> int:
        """Read some of it; 0 at its end."""


async def files(
    body: Readable,
    size_of: Callable[[str], int | None],
    folders: Collection[str] = (),
) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the name and the content of each file, up to the archive's directory.

    `size_of` returns the size of a file by its name, None for one that was not asked for. `folders`
    may have entries of their own, with a slash at the end of the name and nothing in them. Raises
    BadArchive.
    """
    arriving = _Arriving(body)
    left = set(folders)
    while (start := await arriving.peek(4)) == _FILE:
        fields = _HEADER.unpack(await arriving.take(_HEADER.size))
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
        if flags & ~(_HAS_DESCRIPTOR | _IS_UTF8) or method != _STORED:
            raise BadArchive("an entry is compressed or encrypted")
        if name_length > _LONGEST_NAME or extra_length > _LONGEST_EXTRA:
            raise BadArchive("an entry has a name or extra fields of excessive length")
        name = _decoded(await arriving.take(name_length))
        extra = await arriving.take(extra_length)
        is_folder = name.endswith("/") and name[:-1] in left
        left.discard(name[:-1])
        listed = 0 if is_folder else size_of(name)
        if listed is None:
            raise BadArchive("an entry was not asked for, or comes twice")
        has_descriptor = bool(flags & _HAS_DESCRIPTOR)
        if not has_descriptor and _sizes(size, packed, extra) != (listed, listed):
            raise BadArchive("an entry has another size than is listed")
        content = await arriving.take(listed)
        if has_descriptor:
            crc = await _crc(arriving, listed)
        if zlib.crc32(content) != crc:
            raise BadArchive("an entry has another checksum than its content")
        if not is_folder:
            yield name, content
    if start not in _DIRECTORY:
        raise BadArchive("the archive is cut off, or is none")


class _Arriving:
    """The bytes of a body, of which none is taken twice."""

    def __init__(self, body: Readable) -> None:
        self._body = body
        self._ahead = bytearray()
        self._buffer = memoryview(bytearray(_PIECE))

    async def peek(self, count: int) -> bytes:
        """Return the next bytes, which remain to be taken; fewer at the end."""
        while len(self._ahead) < count and (got := await self._body.read(self._buffer)):
            self._ahead += self._buffer[:got]
        return bytes(self._ahead[:count])

    async def take(self, count: int) -> bytes:
        """Return the next bytes. Raises BadArchive if there are fewer."""
        taken = await self.peek(count)
        if len(taken) < count:
            raise BadArchive("the archive is cut off")
        del self._ahead[:count]
        return taken


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadArchive("an entry has a name that is not UTF-8") from None


def _sizes(size: int, packed: int, extra: bytes) -> tuple[int, int]:
    """Return the sizes that a header gives, which stand in an extra field if they are large."""
    while len(extra) >= 4 and _FULL in (size, packed):
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _ZIP64 and length >= 16 and len(extra) >= 20:
            size, packed = struct.unpack_from("<QQ", extra, 4)
            break
        extra = extra[4 + length :]
    return size, packed


async def _crc(arriving: _Arriving, size: int) -> int:
    """Read the descriptor after an entry, whose sizes have 8 bytes in a zip64, else 4."""
    ahead = await arriving.peek(_WIDE.size)
    for form in (_WIDE, _NARROW):
        if len(ahead) >= form.size:
            start, crc, packed, unpacked = form.unpack_from(ahead)
            # After an empty file both forms fit: then what follows tells which one it is.
            if (start, packed, unpacked) == (_DESCRIPTOR, size, size):
                await arriving.take(form.size)
                return int(crc)
    raise BadArchive("an entry has no descriptor, or one with another size")
