"""The files and folders of a space. A content is a file on disk, so large ones cost no memory."""

from __future__ import annotations

import hashlib
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False)
class File:
    """A file. It is in post-processing until the time `ready`; `versions` are older times."""

    name: str
    parent: Folder
    content: Path
    mtime: float
    size: int
    sums: tuple[str, str, str] | None
    ready: float = 0
    versions: set[float] = field(default_factory=set)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_processing(self) -> bool:
        """Test whether it is in post-processing."""
        return time.monotonic() < self.ready

    @property
    def etag(self) -> str:
        """Made of the file's id and time alone."""
        return _md5(f"{self.id} {self.mtime}")

    @property
    def path(self) -> str:
        """Path in its space."""
        return f"{self.parent.path}/{self.name}"


@dataclass(eq=False)
class Folder:
    """A folder; its time is that of the last change in it."""

    name: str
    parent: Folder | None
    mtime: float = field(default_factory=time.time)
    children: dict[str, File | Folder] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def etag(self) -> str:
        """Changes with all that is below."""
        return _md5(f"{self.id} {self.mtime} {self.size}")

    @property
    def size(self) -> int:
        """Bytes of all files below."""
        return sum(child.size for child in self.children.values())

    @property
    def path(self) -> str:
        """Path in its space; empty for its root."""
        return "" if self.parent is None else f"{self.parent.path}/{self.name}"

    def find(self, path: str) -> File | Folder | None:
        """Find what is at a path below."""
        node: File | Folder | None = self
        for name in names(path):
            node = node.children.get(name) if isinstance(node, Folder) else None
        return node

    def folders(self, path: str) -> Folder:
        """The folder at a path below, made where it is missing."""
        folder = self
        for name in names(path):
            found = folder.children.setdefault(name, Folder(name, folder))
            assert isinstance(found, Folder), path
            folder = found
        return folder

    def add(self, node: File | Folder) -> None:
        """Put a node here, in place of one of its name."""
        node.parent = self
        self.children[node.name] = node
        self.mtime = time.time()

    def remove(self, name: str) -> None:
        """Take out what has this name."""
        del self.children[name]
        self.mtime = time.time()


Node = File | Folder


def names(path: str) -> list[str]:
    """Split a path. NFC and NFD are two names here."""
    return [name for name in path.split("/") if name]


def files_below(node: Node) -> Iterator[File]:
    """The files at a node and below it."""
    if isinstance(node, File):
        yield node
    else:
        for name in sorted(node.children):
            yield from files_below(node.children[name])


class Sums:
    """The three checksums of a content, as it arrives."""

    def __init__(self) -> None:
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._adler32 = 1
        self.size = 0

    def update(self, piece: bytes) -> None:
        """Take a piece in."""
        self.size += len(piece)
        self._sha1.update(piece)
        self._md5.update(piece)
        self._adler32 = zlib.adler32(piece, self._adler32)

    def all(self) -> tuple[str, str, str]:
        """SHA-1, MD5 and Adler-32, as listings show them."""
        adler32 = f"{self._adler32:08x}"
        return (
            f"SHA1:{self._sha1.hexdigest()}",
            f"MD5:{self._md5.hexdigest()}",
            f"ADLER32:{adler32}",
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
