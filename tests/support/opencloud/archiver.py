"""The archiver: a zip of the files and folders whose ids a request names, as Go's library writes.

An error ends it. If nothing was sent by then, and 4 KiB of an archive are written before any of it
is sent, the answer has an error's status. Else it is a 200 whose rest is the error's text and the
end of the archive. All that was seen in November 2026 with the real one; its tar was not mirrored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from support.opencloud.cloud import OpenCloud
from support.opencloud.places import Exchange, shown_id
from support.opencloud.tree import File, Folder, Node

PATH: Final = "/archiver"
_BUFFERED: Final = 4096
_KNOWN: Final = 2048  # of a shorter answer the length is told
_DESCRIPTOR: Final = 8
_UTF8: Final = 0x800


_TEXT: Final = "text/plain; charset=utf-8"
_TIME: Final = struct.pack("<HHBI", 0x5455, 5, 1, 1_600_000_000)


class _Ended(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class _Entry:
    name: bytes
    flags: int
    offset: int
    crc: int = 0
    size: int = 0


@dataclass
class _Zip:
    """What was sent, what waits in the library's buffer, and the entries, of which one is open."""

    sent: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    entries: list[_Entry] = field(default_factory=list)
    at: int = 0

    def begin(self, name: str, *, is_file: bool) -> None:
        """Begin an entry, whose sizes come after it."""
        self._close()
        raw = name.encode()
        flags = (_DESCRIPTOR if is_file else 0) | (0 if raw.isascii() else _UTF8)
        self.entries.append(_Entry(raw, flags, self.at))
        fields = 20, flags, 0, 0, 33, 0, 0, 0, len(raw), len(_TIME)
        self._write(struct.pack("<4s5H3I2H", b"PK\3\4", *fields) + raw + _TIME)

    def add(self, content: bytes) -> None:
        """Write the content of an entry."""
        entry = self.entries[-1]
        entry.crc, entry.size = zlib.crc32(content), len(content)
        self._write(content)

    def end(self) -> None:
        """Write the directory, and send all."""
        self._close()
        start = self.at
        for one in self.entries:
            fields = one.crc, one.size, one.size, len(one.name), 9, 0, 0, 0, 0, one.offset
            head = struct.pack("<4s6H3I5H2I", b"PK\1\2", 0x314, 20, one.flags, 0, 0, 33, *fields)
            self._write(head + one.name + _TIME)
        count = len(self.entries)
        counts = 0, 0, count, count, self.at - start, start, 0
        self._write(struct.pack("<4s4H2IH", b"PK\5\6", *counts))
        self.sent += self.waiting

    def _close(self) -> None:
        if self.entries and self.entries[-1].flags & _DESCRIPTOR:
            last = self.entries[-1]
            self._write(struct.pack("<4s3I", b"PK\7\x08", last.crc, last.size, last.size))

    def _write(self, data: bytes) -> None:
        """Send what fills the buffer, and a long piece at once if the buffer is empty."""
        self.at += len(data)
        while len(data) > _BUFFERED - len(self.waiting):
            if not self.waiting:
                self.sent += data
                return
            count = _BUFFERED - len(self.waiting)
            self.sent += self.waiting + data[:count]
            self.waiting.clear()
            data = data[count:]
        self.waiting += data


def capability(cloud: OpenCloud) -> Any:
    """What the capabilities say of it; the limits are text."""
    if cloud.archivers is not None or not cloud.archives:
        return cloud.archivers or []
    return [
        {
            "enabled": True,
            "version": "2.0.0",
            "formats": ["tar", "zip"],
            "archiver_url": PATH,
            "max_num_files": str(cloud.archiver_most_files),
            "max_size": str(cloud.archiver_most_bytes),
        }
    ]


def send_archive(exchange: Exchange) -> None:
    """Answer with a zip; the other format is a tar, which nothing here asks for."""
    cloud = exchange.cloud
    ids = exchange.query.get("id", [])
    if not ids:
        exchange.reply(400, b"error: bad request: path and id lists are both empty", kind=_TEXT)
        return
    exchange.spend()
    made, status = _Zip(), 200
    try:
        with cloud.guard:
            _write(cloud, ids, made)
    except _Ended as ended:
        # The text goes past the library's buffer.
        status = status if made.sent else ended.status
        made.sent += str(ended).encode()
    made.end()
    body = cloud.on_archive([_path_of(cloud, one) for one in ids], bytes(made.sent))
    headers = (
        ("Content-Disposition", 'attachment; filename="download.zip"'),
        ("Content-Transfer-Encoding", "binary"),
    )
    # The library looks at the first bytes.
    kind = "application/zip" if body.startswith(b"PK\3\4") else "application/octet-stream"
    if len(body) <= _KNOWN:
        exchange.reply(status, body, *headers, kind=kind)
        return
    pieces = (body[at : at + (1 << 15)] for at in range(0, len(body), 1 << 15))
    exchange.reply_streamed(status, pieces, *headers, kind=kind)


def _write(cloud: OpenCloud, ids: list[str], made: _Zip) -> None:
    count = size = 0
    for one in ids:
        node = _find(cloud, one)
        if node is None:
            raise _Ended(404, "error: not found: stat: error: not found: ")
        for name, inner in _below(node.name, node):
            count += 1
            if count > cloud.archiver_most_files:
                raise _Ended(413, "reached max files count")
            if isinstance(inner, File):
                size += inner.size
            if size > cloud.archiver_most_bytes:
                raise _Ended(413, "reached max total files size")
            cloud.spend(cloud.cost.zip_file)
            made.begin(name, is_file=isinstance(inner, File))
            if isinstance(inner, File):
                if inner.is_processing:
                    raise _Ended(500, f'internal error: opaque_id:"{inner.id}"')
                made.add(inner.content.read_bytes())


def _below(name: str, node: Node) -> Iterator[tuple[str, Node]]:
    if isinstance(node, Folder):
        yield f"{name}/", node
        for child in sorted(node.children):
            yield from _below(f"{name}/{child}", node.children[child])
    else:
        yield name, node


def _find(cloud: OpenCloud, shown: str) -> Node | None:
    for space in cloud.spaces.values():
        pending: list[Node] = [space.root]
        while pending:
            node = pending.pop()
            if shown_id(space, node) == shown:
                return node
            if isinstance(node, Folder):
                pending += node.children.values()
    return None


def _path_of(cloud: OpenCloud, shown: str) -> str:
    node = _find(cloud, shown)
    return "" if node is None else node.path
