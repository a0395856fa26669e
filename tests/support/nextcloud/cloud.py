"""The site: its accounts, links, locks and settings, and the log of what was asked of it."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from support import storages
from support.nextcloud.errors import locked
from support.nextcloud.tree import File, Folder, Tree, files_below, path_of
from support.stand_in.site import Cost, Site
from support.storages import Storage, digest

VERSION: Final = "32.0.1"
INSTANCE: Final = "ocstandin"
NEW_FILE: Final = ".upload.part"
"""The end of the name of a lock of a file that is not there yet."""
_REPLACING_SECONDS: Final = 5.0


OBSERVED: Final = Cost(
    start=0.038,
    work={
        "MKCOL": 0.023,
        "PUT": 0.042,
        "MOVE": 0.045,
        "COPY": 0.045,
        "DELETE": 0.045,
        "GET": 0.005,
        "PROPFIND": 0.003,
    },
    entry=0.00008,
    password=0.45,
    bulk_file=0.02,
    zip_file=0.0035,
    workers=8,
    processors=2,
)
"""Processor time of a request as measured (8 workers of php-fpm, PostgreSQL, two cores)."""


@dataclass(eq=False)
class Upload:
    """A session of a chunked upload: its chunks by name.

    `parts` are the chunks in an object store, by number; None where they are files, as elsewhere.
    `onto` is the file that they replace.
    """

    created: int
    chunks: dict[str, File] = field(default_factory=dict)
    parts: dict[int, File] | None = None
    onto: File | None = None


@dataclass(eq=False)
class User:
    """An account. `quota` is in bytes, None for none; app passwords are all that hold."""

    name: str
    password: str
    tree: Tree
    quota: int | None = None
    enabled: bool = True
    app_passwords: set[str] = field(default_factory=set)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def free(self) -> int | None:
        """Bytes left of the quota; None without a quota."""
        return None if self.quota is None else max(0, self.quota - self.tree.root.size)


@dataclass(frozen=True)
class Link:
    """A public link to a file or a folder."""

    token: str
    owner: str
    path: str
    writable: bool = False
    readable: bool = True
    password: str = ""


@dataclass(eq=False)
class Nextcloud(Site):
    """A running stand-in. Paths in its methods begin with `/` and are relative to an account.

    `buffered`: the web server holds a request's body until it is complete. Off by default, as
    Nextcloud recommends for nginx: then an upload that is cut off while it overwrites a file
    leaves a truncated file, and a body of unknown length is stored as an empty file.
    """

    buffered: bool = False
    throttle_after: int | None = 10
    max_chunk: int = 100 << 20
    object_store: bool = False
    orphans: int = 0
    bulk: bool = True
    archives: bool = True
    maintenance: bool = False
    on_replace: Callable[[str], None] = lambda _: None
    """Called with the path of a file that is emptied and is yet to be written."""
    on_bulk: Callable[[dict[str, Any]], dict[str, Any]] = lambda told: told
    """Called with what a bulk upload is about to be answered, by path; returns what is sent."""
    breaks: Callable[[str], bool] = lambda _: False
    """Whether a part of a bulk upload, by its path, arrives with other bytes than were sent."""
    on_tree: Callable[[list[str]], list[str]] = lambda entries: entries
    """Called with the entries of a listing of infinite depth; returns those that are sent."""
    on_archive: Callable[[list[str], bytes], bytes] = lambda _, whole: whole
    """Called with the names that a zip is asked for, and the zip; returns what is sent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.users: dict[str, User] = {}
        self.links: dict[str, Link] = {}
        self.refused_passwords = 0
        self._ids = itertools.count(1)
        self._locks: Counter[str] = Counter()
        self.add_user(storages.USER, storages.password())

    # Setup by a test.

    def add_user(self, name: str, password: str) -> User:
        """Make an account, with an app password."""
        contents = self.folder / name
        contents.mkdir()
        user = User(name, password, Tree(contents, self._ids))
        user.app_passwords.add(storages.password())
        self.users[name] = user
        return user

    def user(self, name: str = storages.USER) -> User:
        """An account."""
        return self.users[name]

    def app_password(self, name: str = storages.USER) -> str:
        """An app password of an account that holds."""
        return next(iter(self.users[name].app_passwords))

    def link(self, path: str, *, owner: str = storages.USER, **settings: str | bool) -> Link:
        """Share a path by a public link."""
        made = Link(secrets.token_hex(8)[:15], owner, path, **settings)  # type: ignore[arg-type]
        self.links[made.token] = made
        return made

    def storage(self, name: str = storages.USER) -> Storage:
        """The account as tests name a storage, signed in by its app password."""

        def write(path: str, content: bytes) -> None:
            self.write(path, content, name)

        parameters = {
            "url": f"{self.url}/remote.php/dav/files/{name}",
            "vendor": "nextcloud",
            "user": name,
            "pass": self.app_password(name),
        }
        return Storage(
            "webdav",
            parameters,
            write,
            lambda path: self.hashes(path, name),
        )

    def write(self, path: str, content: bytes, name: str = storages.USER) -> File:
        """Put a content at a path, with the folders above it."""
        parent, _, leaf = path.strip("/").rpartition("/")
        tree = self.users[name].tree
        with self.guard:
            there = tree.find(path)
            if there is not None:
                tree.remove(there)
            blank = tree.blank()
            blank.write_bytes(content)
            return tree.add_file(tree.folders(parent), leaf, blank, None)

    def read(self, path: str, name: str = storages.USER) -> bytes:
        """The content of a file."""
        found = self.users[name].tree.find(path)
        assert isinstance(found, File), path
        return found.content.read_bytes()

    def hashes(self, path: str = "", name: str = storages.USER) -> dict[str, str]:
        """The hash of each file below a path, by its path from there.

        A file that is just being replaced is waited for: its writer holds its lock.
        """
        until = time.monotonic() + _REPLACING_SECONDS
        while self._is_written(f"{name}:/{path.strip('/')}") and time.monotonic() < until:
            time.sleep(0.01)
        with self.guard:
            node = self.users[name].tree.find(path)
            if node is None:
                return {}
            root = path_of(node)
            if isinstance(node, File):
                root = root.rpartition("/")[0]
            root += "/"
            return {
                path_of(file).removeprefix(root): digest(file.content.read_bytes())
                for file in files_below(node)
            }

    def _is_written(self, key: str) -> bool:
        with self.guard:
            held = [one for one, count in self._locks.items() if count < 0 and one.startswith(key)]
        return any(not one.endswith(NEW_FILE) for one in held)

    def forgive(self) -> None:
        """Forget the wrong passwords, as an administrator can."""
        self.refused_passwords = 0

    # Locks: a count of readers by path, or -1 for one writer.

    @contextmanager
    def locked(self, path: str, name: str = storages.USER) -> Iterator[None]:
        """Hold an exclusive lock on a file; its folders stay unlocked."""
        with self.holding(f"{name}:{path}", exclusive=True):
            yield

    @contextmanager
    def holding(
        self, key: str, *, exclusive: bool, folder: bool = False, above: Iterable[str] = ()
    ) -> Iterator[None]:
        """Lock `ACCOUNT:/path`, and share the locks of what is above it."""
        shared = [*above, *([] if exclusive else [key])]
        with self.guard:
            busy = self._locks[key]
            if busy < 0 or (exclusive and busy) or any(self._locks[one] < 0 for one in shared):
                raise locked(key.partition(":")[2], folder)
            self._locks.update(shared)
            if exclusive:
                self._locks[key] = -1
        try:
            yield
        finally:
            with self.guard:
                self._locks.subtract(shared)
                if exclusive:
                    self._locks[key] = 0


def shown_id(node: File | Folder) -> str:
    """A node's id as OC-FileId and oc:id show it."""
    return f"{node.fileid:08d}{INSTANCE}"
