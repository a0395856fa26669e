"""The files and folders of one account, with what Nextcloud keeps about each.

A content is a file on disk, so that large ones cost no memory. An ETag is made as Nextcloud
32.0.1 makes it on local storage: of time, inode and size. So it is no proof of a content, see
`File.stored`.
"""

from __future__ import annotations

import hashlib
import itertools
import mimetypes
import shutil
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_unique = itertools.count(0x6B0AB8E4A59EB)


def unique_etag() -> str:
    """A new ETag each time, as folders have."""
    return f"{next(_unique):x}"


@dataclass(eq=False)
class File:
    """A file; `checksum` is what the last upload claimed, as it was sent."""

    name: str
    parent: Folder | None
    fileid: int
    content: Path
    mtime: int = 0
    etag: str = ""
    size: int = 0
    checksum: str = ""
    created: int = 0

    def stored(self, mtime: int | None) -> None:
        """Note a new content, which is on disk already.

        Without a time from the client, a second content within one second keeps the ETag.
        """
        size = self.content.stat().st_size
        grown, self.size = size - self.size, size
        now = int(time.time())
        if mtime is not None or self.mtime != now:
            self.mtime = now if mtime is None else mtime
            made_of = f"{self.mtime}{self.fileid}{size}"
            self.etag = hashlib.md5(made_of.encode(), usedforsecurity=False).hexdigest()
        if self.parent is not None:
            self.parent.changed(grown)


@dataclass(eq=False)
class Folder:
    """A folder; its ETag and time change with everything below it."""

    name: str
    parent: Folder | None
    fileid: int
    mtime: int = 0
    etag: str = field(default_factory=unique_etag)
    size: int = 0
    children: dict[str, File | Folder] = field(default_factory=dict)

    def changed(self, grown: int = 0) -> None:
        """Note a change below this folder, of that many bytes."""
        above: Folder | None = self
        while above is not None:
            above.size += grown
            above.etag = unique_etag()
            above.mtime = int(time.time())
            above = above.parent


Node = File | Folder


def parts(path: str) -> list[str]:
    """Split a path into names, in NFC, the spelling that Nextcloud stores."""
    return [part for part in unicodedata.normalize("NFC", path).split("/") if part]


class Tree:
    """One account's files. Callers hold the server's guard while they change it."""

    def __init__(self, contents: Path, ids: Iterator[int]) -> None:
        self._contents = contents
        self._ids = ids
        self.root = Folder("", None, next(ids), int(time.time()))

    def blank(self) -> Path:
        """A path for a content, at which nothing is yet."""
        return self._contents / str(next(self._ids))

    def find(self, path: str, below: Node | None = None) -> Node | None:
        """Find the node at a path."""
        node: Node | None = self.root if below is None else below
        for name in parts(path):
            node = node.children.get(name) if isinstance(node, Folder) else None
        return node

    def add_folder(self, parent: Folder, name: str) -> Folder:
        """Make a folder."""
        made = Folder(name, parent, next(self._ids), int(time.time()))
        parent.children[name] = made
        parent.changed()
        return made

    def add_file(self, parent: Folder, name: str, content: Path, mtime: int | None) -> File:
        """Put a content that is on disk under a new name."""
        made = File(name, parent, next(self._ids), content)
        parent.children[name] = made
        made.stored(mtime)
        return made

    def folders(self, path: str) -> Folder:
        """The folder at a path, made with its parents where they are missing."""
        folder = self.root
        for name in parts(path):
            found = folder.children.get(name)
            if found is None:
                found = self.add_folder(folder, name)
            if isinstance(found, File):
                raise NotADirectoryError(path)
            folder = found
        return folder

    def remove(self, node: Node) -> None:
        """Take a node out, with all that is below it."""
        if node.parent is not None:
            del node.parent.children[node.name]
            node.parent.changed(-node.size)
            node.parent = None
        for file in files_below(node):
            file.content.unlink(missing_ok=True)

    def move(self, node: Node, parent: Folder, name: str) -> None:
        """Give a node another place; it keeps its id, ETag and checksum."""
        if node.parent is not None:
            del node.parent.children[node.name]
            node.parent.changed(-node.size)
        node.name, node.parent = name, parent
        parent.children[name] = node
        parent.changed(node.size)

    def copy(self, node: Node, parent: Folder, name: str) -> Node:
        """A copy, which has the file's ETag and time but not its checksum."""
        if isinstance(node, Folder):
            made = self.add_folder(parent, name)
            for child in node.children.values():
                self.copy(child, made, child.name)
            return made
        content = self.blank()
        shutil.copyfile(node.content, content)
        copied = self.add_file(parent, name, content, node.mtime)
        copied.etag = node.etag
        return copied


def files_below(node: Node) -> Iterator[File]:
    """The files at a node and below it."""
    if isinstance(node, File):
        yield node
    else:
        for name in sorted(node.children):
            yield from files_below(node.children[name])


def path_of(node: Node) -> str:
    """Path of a node in its account, with a slash before each name; empty for the root."""
    names: list[str] = []
    above: Node | None = node
    while above is not None and above.parent is not None:
        names.append(above.name)
        above = above.parent
    return "".join(f"/{name}" for name in reversed(names))


def media_type(name: str) -> str:
    """A file's media type, which goes by its name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
