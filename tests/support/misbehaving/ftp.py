"""An FTP server that misbehaves."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pyftpdlib.filesystems import AbstractedFS

from support import storages as servers
from support.misbehaving.troubles import READS, STORES, Kind, Troubles, changed, shortened
from support.storages import Storage

SOURCE_KINDS: Final = (
    Kind.LISTING_REFUSED,
    Kind.ENTRY_LONGER,
    Kind.ENTRY_SHORTER,
    Kind.ENTRY_ZERO,
    Kind.ENTRY_LOST,
    *READS,
)
DESTINATION_KINDS: Final = (
    Kind.LISTING_REFUSED,
    Kind.ENTRY_LOST,
    *STORES,
)


@dataclass
class MisbehavingFtp:
    """The server, whose content is a folder of this machine."""

    storage: Storage
    troubles: Troubles = field(default_factory=Troubles)


class _Sent(io.BytesIO):
    """A file whose reading misbehaves."""

    def __init__(self, path: str, kind: Kind | None) -> None:
        content = Path(path).read_bytes()
        if kind is Kind.READ_CHANGED:
            content = changed(content)
        elif kind is not None:
            content = shortened(content)
        super().__init__(content)
        self.name = path
        self._breaks_off = kind is Kind.READ_CUT

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data and self._breaks_off:
            raise OSError("cut off")
        return data


class _Received(io.BytesIO):
    """A file whose writing misbehaves."""

    def __init__(self, path: str, kind: Kind) -> None:
        super().__init__()
        self.name = path
        self._kind = kind

    def close(self) -> None:
        if not self.closed:
            made = shortened if self._kind is Kind.WRITE_SHORT else changed
            Path(self.name).write_bytes(made(self.getvalue()))
        super().close()


class _Files(AbstractedFS):  # type: ignore[misc]  # pyftpdlib has no types
    """Its file operations."""

    troubles: Troubles
    folder: Path

    def listdir(self, path: str) -> list[str]:
        folder = self._name(path)
        if self.troubles.meets(Kind.LISTING_REFUSED, folder):
            raise OSError("refused")
        names: list[str] = super().listdir(path)
        lost = Kind.ENTRY_LOST
        return [name for name in names if not self.troubles.meets(lost, _joined(folder, name))]

    def format_list(self, basedir: str, listing: list[str], *rest: Any) -> Iterator[bytes]:
        lines = super().format_list(basedir, listing, *rest)
        for name, line in zip(listing, lines, strict=True):
            path = _joined(self._name(basedir), name)
            if self.troubles.meets(Kind.ENTRY_LONGER, path):
                line = _with_size(line, lambda size: size + 7)
            if self.troubles.meets(Kind.ENTRY_SHORTER, path):
                line = _with_size(line, lambda size: size // 2)
            if self.troubles.meets(Kind.ENTRY_ZERO, path):
                line = _with_size(line, lambda _: 0)
            yield line

    def open(self, filename: str, mode: str) -> Any:
        name = self._name(filename)
        if "r" in mode:
            if self.troubles.meets(Kind.READ_REFUSED, name):
                raise OSError("refused")
            kinds = (Kind.READ_CUT, Kind.READ_SHORT, Kind.READ_CHANGED)
            return _Sent(filename, self.troubles.first(kinds, name))
        # Whatever name is written, it counts for the folder.
        folder = name.partition("/")[0]
        if self.troubles.meets(Kind.WRITE_REFUSED, folder):
            raise OSError("refused")
        kind = self.troubles.first((Kind.WRITE_SHORT, Kind.WRITE_CHANGED), folder)
        return super().open(filename, mode) if kind is None else _Received(filename, kind)

    def _name(self, path: str) -> str:
        return "" if Path(path) == self.folder else str(Path(path).relative_to(self.folder))


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}".strip("/")


def _with_size(line: bytes, other: Any) -> bytes:
    """A line of LIST whose size is another one: mode, links, owner, group, size, …"""
    return re.sub(
        rb"^(\S+\s+\S+\s+\S+\s+\S+\s+)(\d+)", lambda it: it[1] + b"%d" % other(int(it[2])), line
    )


@contextmanager
def serving(folder: Path) -> Iterator[MisbehavingFtp]:
    """The server, for the length of the block."""
    troubles = Troubles()
    files = type("Files", (_Files,), {"troubles": troubles, "folder": folder})
    with servers.ftp(folder, files) as storage:
        yield MisbehavingFtp(storage, troubles)
