"""The site: its accounts, spaces, tokens and settings."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from support import storages
from support.opencloud.tree import File, Folder, Sums, files_below
from support.opencloud.tus_sessions import TusSession, TusSettings
from support.stand_in.faults import most_at_once
from support.stand_in.site import Cost, Site
from support.storages import Storage, digest

NEVER: Final = float("inf")
"""Seconds of a post-processing that never ends, as after a kill of the real server."""

OBSERVED: Final = Cost(
    start=0.004,
    work={"PUT": 0.016, "MKCOL": 0.012, "PROPFIND": 0.006, "GET": 0.008, "HEAD": 0.006},
    password=0.1,
    app_password=0.23,
    bearer=0.012,
    zip_file=0.0035,
    processors=2,
)
"""Processor time of a request as measured on two cores, most of it for the sign-in."""

SignIn = Literal["bearer", "password", "app"]


@dataclass(eq=False)
class Space:
    """A space of files. `quota` is all the bytes that it may hold, None for no limit."""

    id: str
    root: Folder = field(default_factory=lambda: Folder("", None))
    quota: int | None = None


@dataclass(eq=False)
class User:
    """An account with a personal space."""

    name: str
    password: str
    space: Space
    app_tokens: set[str] = field(default_factory=set)


@dataclass(eq=False)
class OpenCloud(Site):
    """A running stand-in. Paths in its methods begin with `/` and are relative to a space.

    `processing_seconds`: how long a file is in post-processing after its upload. `rejects`: which
    names the post-processing then refuses, as a virus scanner does: the file vanishes.
    `archives`: whether there is an archiver, of which two others are the limits, and `archivers`
    what the capability says of it, if not the truth.
    """

    processing_seconds: float = 0
    tus: TusSettings = field(default_factory=TusSettings)
    rejects: Callable[[str], bool] = lambda _: False
    refuses_races: bool = False
    archives: bool = True
    archivers: Any = None
    archiver_most_files: int = 10_000
    archiver_most_bytes: int = 1 << 30
    on_archive: Callable[[list[str], bytes], bytes] = lambda _, whole: whole
    """Called with the paths that a zip is asked for, and the zip; returns what is sent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.users: dict[str, User] = {}
        self.spaces: dict[str, Space] = {}
        self.uploaded: list[File] = []
        self.uploads: dict[str, TusSession] = {}
        self.upload_tokens: dict[str, float] = {}
        self.tokens: dict[str, tuple[str, float]] = {}
        self._contents = itertools.count(1)
        self.add_user(storages.USER, storages.password())

    # Setup by a test.

    def add_space(self) -> Space:
        """Make a space, which each account may use."""
        space = Space(f"{secrets.token_hex(8)}${secrets.token_hex(8)}")
        self.spaces[space.id] = space
        return space

    def add_user(self, name: str, password: str) -> User:
        """Make an account, with an app token."""
        user = User(name, password, self.add_space(), {storages.password()})
        self.users[name] = user
        return user

    def user(self, name: str = storages.USER) -> User:
        """An account."""
        return self.users[name]

    def token(self, seconds: float = 3600, name: str = storages.USER) -> str:
        """A bearer token for so many seconds."""
        made = storages.password()
        self.tokens[made] = (name, time.monotonic() + seconds)
        return made

    def expire_tokens(self) -> None:
        """Let all bearer tokens expire now."""
        self.tokens.clear()

    def storage(
        self,
        *,
        by: SignIn = "bearer",
        vendor: str = "infinitescale",
        address: str = "/remote.php/dav/files/alice",
        space: Space | None = None,
    ) -> Storage:
        """A space as tests name a storage: `alice`'s own, or another at its own address."""
        user = self.user()
        if space is not None:
            address = f"/dav/spaces/{quote(space.id)}"
        root = (space or user.space).root
        parameters = {"url": self.url + address, "vendor": vendor}

        def write(path: str, content: bytes) -> None:
            self.put(root, path, content)

        if by == "bearer":
            parameters["bearer_token"] = self.token()
        else:
            secret = user.password if by == "password" else next(iter(user.app_tokens))
            parameters |= {"user": user.name, "pass": secret}
        return Storage(
            "webdav",
            parameters,
            write,
            lambda path: self._hashes(root, path),
        )

    def write(self, path: str, content: bytes, mtime: float | None = None) -> File:
        """Put a content into `alice`'s space, not in post-processing."""
        return self.put(self.user().space.root, path, content, mtime)

    def put(self, root: Folder, path: str, content: bytes, mtime: float | None = None) -> File:
        """Put a content below a folder."""
        sums = Sums()
        sums.update(content)
        parent, _, name = path.strip("/").rpartition("/")
        with self.guard:
            blank = self.blank()
            blank.write_bytes(content)
            folder = root.folders(parent)
            shown = sums.all() if content else None
            file = File(name, folder, blank, mtime or time.time(), len(content), shown)
            folder.add(file)
            return file

    def process(self, path: str, seconds: float = NEVER) -> None:
        """Put the files at a path and below into post-processing."""
        found = self.user().space.root.find(path)
        assert found is not None, path
        for file in files_below(found):
            file.ready = time.monotonic() + seconds

    def settle(self) -> None:
        """Remove what post-processing refused and has done with."""
        with self.guard:
            for file in [one for one in self.uploaded if not one.is_processing]:
                self.uploaded.remove(file)
                done = [one.token for one in self.uploads.values() if one.file is file]
                for token in done:
                    del self.uploads[token]
                if file.parent.children.get(file.name) is file and self.rejects(file.name):
                    file.parent.remove(file.name)

    def finish(self) -> None:
        """End all post-processing, also that of later uploads."""
        with self.guard:
            self.processing_seconds = 0
            for space in self.spaces.values():
                for file in files_below(space.root):
                    file.ready = 0

    def file(self, path: str) -> File | None:
        """A file of `alice`'s."""
        found = self.user().space.root.find(path)
        return found if isinstance(found, File) else None

    def read_file(self, path: str) -> bytes:
        """The content of a file of `alice`'s."""
        found = self.file(path)
        assert found is not None, path
        return found.content.read_bytes()

    def hashes(self, path: str = "") -> dict[str, str]:
        """The hash of each of `alice`'s files below a path, by its path from there."""
        return self._hashes(self.user().space.root, path)

    def _hashes(self, root: Folder, path: str) -> dict[str, str]:
        with self.guard:
            node = root.find(path)
            if node is None:
                return {}
            above = node.path if isinstance(node, Folder) else node.parent.path
            return {
                file.path.removeprefix(above + "/"): digest(file.content.read_bytes())
                for file in files_below(node)
            }

    def blank(self) -> Path:
        """A path for a content, at which nothing is yet."""
        return self.folder / str(next(self._contents))

    # What a test asks about.

    def most_at_once(self) -> int:
        """The largest number of requests that were under way at the same time."""
        with self.guard:
            return most_at_once(self.requests)

    def sign_in_costs(self) -> Mapping[SignIn, float]:
        """Seconds that each kind of sign-in takes."""
        cost = self.cost
        return {"bearer": cost.bearer, "password": cost.password, "app": cost.app_password}
