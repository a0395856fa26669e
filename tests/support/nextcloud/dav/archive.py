"""A folder as a zip: stored, streamed, with the folder's own name before each of its entries."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from email.utils import formatdate
from urllib.parse import quote

from support.nextcloud.dav.spaces import Space
from support.nextcloud.errors import not_found
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Folder, Node
from support.stand_in.exchange import from_files

ZIP = "application/zip"
_PIECE = 1 << 15
_MOST = 0xFFFFFFFF


def wants_archive(exchange: Exchange) -> bool:
    """Test whether a GET asks for a folder as a zip."""
    if not exchange.cloud.archives:  # as before Nextcloud 31
        return False
    accept = exchange.query.get("accept", [exchange.header("Accept") or ""])[0]
    return accept in ("zip", ZIP)


def send_archive(exchange: Exchange, space: Space, path: str, folder: Folder) -> None:
    """Send a folder, or those of its children that the query names."""
    names: list[str] = json.loads(exchange.query.get("files", ["[]"])[0])
    prefix = "" if names else (folder.name or space.user.name) + "/"
    chosen: list[tuple[str, Node]] = [(prefix, folder)] if not names else []
    for name in names:
        found = space.find(f"{path}/{name}")
        if found is None:
            raise not_found(f"/{path}/{name}")
        chosen.append((name + ("/" if isinstance(found, Folder) else ""), found))
    entries = [entry for name, node in chosen for entry in _below(name, node)]
    exchange.cloud.spend(exchange.cloud.cost.zip_file * len(entries))
    body = exchange.cloud.on_archive(names, b"".join(_zip(entries)))
    shown = (folder.name or space.user.name) + ".zip"
    exchange.reply_streamed(
        200,
        (body[at : at + _PIECE] for at in range(0, len(body), _PIECE)),
        ("Content-Disposition", f"attachment; filename*=UTF-8''{quote(shown, safe='')}"),
        ("Last-Modified", formatdate(time.time(), usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("Content-Transfer-Encoding", "binary"),
        kind=ZIP,
    )


def _below(name: str, node: Node) -> Iterator[tuple[str, Node]]:
    yield name, node
    if isinstance(node, Folder):
        for child in sorted(node.children):
            inner = node.children[child]
            slash = "/" if isinstance(inner, Folder) else ""
            yield from _below(f"{name}{child}{slash}", inner)


def _dos_time(at: int) -> tuple[int, int]:
    """A time in zip's two fields, to two seconds."""
    moment = time.gmtime(max(at, 315532800))
    return (
        moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2,
        (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday,
    )


def _zip(entries: list[tuple[str, Node]]) -> Iterator[bytes]:
    """The archive: no entry's size is known before its content was sent."""
    directory, offset = [], 0
    for name, node in entries:
        raw = name.encode()
        streamed = isinstance(node, File)
        flags = (8 if streamed else 0) | (0 if raw.isascii() else 0x800)
        when = _dos_time(node.mtime)
        # Sizes and an offset that say nothing, in the form of a zip64.
        extra = struct.pack("<HHQQQI", 1, 28, 0, 0, offset, 0)
        sizes = 0, _MOST, _MOST, len(raw), len(extra)
        yield struct.pack("<4s5H3I2H", b"PK\3\4", 45, flags, 0, *when, *sizes) + raw + extra
        length, crc, size = 30 + len(raw) + len(extra), 0, 0
        if isinstance(node, File):
            for piece in from_files([node.content]):
                crc = zlib.crc32(piece, crc)
                size += len(piece)
                yield piece
            length += size + 24
            yield struct.pack("<4sIQQ", b"PK\7\x08", crc, size, size)
        directory.append((raw, flags, when, crc, size, offset))
        offset += length
    central = b"".join(_central(*entry) for entry in directory)
    yield central
    yield _end(len(directory), len(central), offset)


def _central(
    raw: bytes, flags: int, when: tuple[int, int], crc: int, size: int, offset: int
) -> bytes:
    extra = struct.pack("<HHQQQI", 1, 28, size, size, offset, 0)
    head = struct.pack("<4s6H3I", b"PK\1\2", 0x32D, 45, flags, 0, *when, crc, _MOST, _MOST)
    rest = len(raw), len(extra), 0, 0xFFFF, 0, 0, _MOST
    return head + struct.pack("<5H2I", *rest) + raw + extra


def _end(count: int, size: int, offset: int) -> bytes:
    """The end of the directory, in zip64's form as Nextcloud's writer has it."""
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    short = min(count, 0xFFFF)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0xFFFF, 0xFFFF, short, short, _MOST, _MOST, 0)
    return end64 + locator + end
