"""An SFTP server that misbehaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncssh

from support import storages as servers
from support.misbehaving.troubles import (
    DELAY_SECONDS,
    READS,
    STORES,
    Kind,
    Troubles,
    changed,
    shortened,
)
from support.storages import Storage

SOURCE_KINDS: Final = (
    Kind.LISTING_REFUSED,
    Kind.LISTING_CUT,
    Kind.ENTRY_LONGER,
    Kind.ENTRY_SHORTER,
    Kind.ENTRY_ZERO,
    Kind.ENTRY_SIZELESS,
    Kind.ENTRY_LOST,
    *READS,
    Kind.DELAY,
)
DESTINATION_KINDS: Final = (
    Kind.LISTING_REFUSED,
    Kind.LISTING_CUT,
    Kind.ENTRY_LOST,
    *STORES,
    Kind.DELAY,
)


@dataclass
class MisbehavingSftp:
    """The server, whose content is a folder of this machine."""

    storage: Storage
    troubles: Troubles = field(default_factory=Troubles)


class _Files(asyncssh.SFTPServer):
    """Its file operations."""

    def __init__(self, channel: Any, chroot: bytes, troubles: Troubles) -> None:
        super().__init__(channel, chroot)
        self.troubles = troubles
        self._found: dict[int, tuple[Kind | None, int]] = {}

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        folder, troubles = _name(path), self.troubles
        if troubles.meets(Kind.DELAY, folder):
            await asyncio.sleep(DELAY_SECONDS)
        if troubles.meets(Kind.LISTING_REFUSED, folder):
            raise asyncssh.SFTPFailure("refused")
        is_cut = troubles.meets(Kind.LISTING_CUT, folder)
        entries = [entry async for entry in super().scandir(path)]
        for number, entry in enumerate(entries):
            if is_cut and number >= len(entries) // 2:
                raise asyncssh.SFTPFailure("cut off")
            name = "/".join(filter(None, (folder, _name(entry.filename))))
            if troubles.meets(Kind.ENTRY_LOST, name):
                continue
            if troubles.meets(Kind.ENTRY_LONGER, name):
                entry.attrs.size = (entry.attrs.size or 0) + 7
            if troubles.meets(Kind.ENTRY_SHORTER, name):
                entry.attrs.size = (entry.attrs.size or 0) // 2
            if troubles.meets(Kind.ENTRY_ZERO, name):
                entry.attrs.size = 0
            if troubles.meets(Kind.ENTRY_SIZELESS, name):
                entry.attrs.size = None
            yield entry

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        name = _name(path)
        kind = Kind.READ_REFUSED
        kinds: tuple[Kind, ...] = (Kind.READ_CUT, Kind.READ_SHORT, Kind.READ_CHANGED)
        if pflags & asyncssh.FXF_WRITE:
            # Whatever name is written, it counts for the folder.
            name = name.partition("/")[0]
            kind, kinds = Kind.WRITE_REFUSED, (Kind.WRITE_SHORT, Kind.WRITE_CHANGED)
        if self.troubles.meets(kind, name):
            raise asyncssh.SFTPFailure("refused")
        file: Any = super().open(path, pflags, attrs)
        found = self.troubles.first(kinds, name)
        self._found[file.fileno()] = (found, os.fstat(file.fileno()).st_size)
        return file

    def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        kind, whole = self._found[file_obj.fileno()]
        data: Any = super().read(file_obj, offset, size)
        if kind is Kind.READ_CHANGED:
            return changed(data)
        if kind in (Kind.READ_CUT, Kind.READ_SHORT):
            data = data[: max(0, whole // 2 - offset)]
            if not data and kind is Kind.READ_CUT:
                raise asyncssh.SFTPFailure("cut off")
        return bytes(data)

    def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        kind, _ = self._found[file_obj.fileno()]
        stored = {Kind.WRITE_CHANGED: changed(data), Kind.WRITE_SHORT: shortened(data)}
        super().write(file_obj, offset, data if kind is None else stored[kind])
        return len(data)


def _name(path: bytes | str) -> str:
    return os.fsdecode(path).strip("/")


@contextmanager
def serving(folder: Path) -> Iterator[MisbehavingSftp]:
    """The server, for the length of the block."""
    troubles = Troubles()
    with servers.sftp(folder, partial(_Files, troubles=troubles)) as storage:
        yield MisbehavingSftp(storage, troubles)
