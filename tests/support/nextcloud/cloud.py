"""The site: its accounts, links, locks and settings, and the log of what was asked of it."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from support import storages
from support.nextcloud.errors import locked
from support.nextcloud.faults import Fault, Faults, Request
from support.nextcloud.tree import File, Folder, Tree, files_below, path_of
from support.storages import Storage, digest

VERSION: Final = "32.0.1"
INSTANCE: Final = "ocstandin"


@dataclass(frozen=True)
class Cost:
    """Seconds that requests take: `start` before anything is looked at, `work` while a method
    does its own, which for MKCOL, PUT and MOVE is with the lock held. `workers` is the number of
    requests that are served at once, and `processors` the number of those that make progress,
    in turns; 0 for no bound.
    """

    start: float = 0
    work: Mapping[str, float] = field(default_factory=dict)
    entry: float = 0
    password: float = 0
    bulk_file: float = 0
    workers: int = 0
    processors: int = 0


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
    workers=8,
    processors=2,
)
"""Processor time of a request as measured (8 workers of php-fpm, PostgreSQL, two cores)."""
_TURN: Final = 0.004


@dataclass(eq=False)
class Upload:
    """A session of a chunked upload: its chunks by name."""

    created: int
    chunks: dict[str, File] = field(default_factory=dict)


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
class Nextcloud:
    """A running stand-in. Paths in its methods begin with `/` and are relative to an account.

    `buffered`: the web server holds a request's body until it is complete. Off by default, as
    Nextcloud recommends for nginx: then an upload that is cut off while it overwrites a file
    leaves a truncated file, and a body of unknown length is stored as an empty file.
    """

    folder: Path
    url: str = ""
    cost: Cost = field(default_factory=Cost)
    buffered: bool = False
    throttle_after: int | None = 10
    max_chunk: int = 100 << 20
    bulk: bool = True
    maintenance: bool = False
    requests: list[Request] = field(default_factory=list)
    on_request: Callable[[Request], Fault | None] = lambda _: None

    def __post_init__(self) -> None:
        self.guard = threading.RLock()
        self.ended = threading.Event()
        self.faults = Faults()
        self.users: dict[str, User] = {}
        self.links: dict[str, Link] = {}
        self.refused_passwords = 0
        self._ids = itertools.count(1)
        self._locks: Counter[str] = Counter()
        self._processors = threading.BoundedSemaphore(self.cost.processors or 1)
        self._workers = threading.BoundedSemaphore(self.cost.workers or 1)
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
        """The hash of each file below a path, by its path from there."""
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

    def forgive(self) -> None:
        """Forget the wrong passwords, as an administrator can."""
        self.refused_passwords = 0

    # Faults and the log.

    def fail(
        self,
        method: str,
        path: str,
        fault: Fault,
        *,
        times: int | None = None,
        skip: int = 0,
        when: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Let requests meet a fault, see `Faults.plan`; the path is the URL's, decoded."""
        with self.guard:
            self.faults.plan(method, path, fault, times=times, skip=skip, when=when)

    def heal(self) -> None:
        """Plan no fault any more, and forget the requests so far."""
        with self.guard:
            self.faults.clear()
            self.requests.clear()

    def seen(self, method: str = "*", path: str = "*") -> list[Request]:
        """The requests so far, of a method and for a path (a pattern)."""
        with self.guard:
            return [
                request
                for request in self.requests
                if method in ("*", request.method) and fnmatchcase(request.path, path)
            ]

    def statuses(self, method: str = "*", path: str = "*") -> Counter[int]:
        """Count the answers by status."""
        return Counter(request.status for request in self.seen(method, path))

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

    # Time.

    def spend(self, seconds: float) -> None:
        """Let time pass as the real server's processors would need it."""
        if not seconds:
            return
        if not self.cost.processors:
            time.sleep(seconds)
            return
        until_done = seconds
        while until_done > 0:
            with self._processors:
                began = time.monotonic()
                time.sleep(min(_TURN, until_done))
                until_done -= time.monotonic() - began
            # Without this the thread that let go would be the next again.
            time.sleep(0)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Wait for a worker and hold it."""
        if not self.cost.workers:
            yield
            return
        with self._workers:
            yield


def shown_id(node: File | Folder) -> str:
    """A node's id as OC-FileId and oc:id show it."""
    return f"{node.fileid:08d}{INSTANCE}"
