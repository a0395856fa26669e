"""A server of Open Cloud Mesh that shares files, made for tests; each test changes what it says.

    with ocm.sharing({"a.csv": b"..."}) as peer:
        function.copy(peer.source(), destination)

`peer.accepts` decides by what value of Authorization the share can be read; at first it is the
shared secret as a bearer token, and `old_way` makes it that of the servers before the draft.
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from support.http_servers import misbehaving, multistatus, reply
from support.storages import digest, password

ROOT: Final = "/remote/dav/ocm/"
OLD_ROOT: Final = "/public.php/webdav/"
SHARE: Final = "7c084226-d9a1"
Handler = http.server.BaseHTTPRequestHandler


@dataclass
class Peer:
    """A sender's server with one share. `files` are its files by path, below its `root`.

    `discovery` is what it says about itself; a test may change it, or set `discover` to answer in
    another way. `on_read` is called before each request for the share is answered.
    """

    files: dict[str, bytes]
    url: str = ""
    root: str = ROOT + SHARE + "/"
    secret: str = field(default_factory=password)
    discovery: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """The method and path of each request."""
    presented: list[tuple[str, str | None]] = field(default_factory=list)
    """The path and the Authorization header of each request."""
    paths: dict[str, Callable[[Handler], None]] = field(default_factory=dict)
    """Answers of other paths."""
    on_read: Callable[[Handler], None] = lambda _: None
    pause: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.accepts: Callable[[str | None], bool] = lambda it: it == f"Bearer {self.secret}"

    @property
    def hashes(self) -> dict[str, str]:
        """The hashes of the files, as a storage's own."""
        return {path: digest(content) for path, content in self.files.items()}

    def source(self, path: str = "", **changes: Any) -> dict[str, Any]:
        """The share as a request names it; a parameter that is None is left out."""
        parameters = {"sender": f"alice@{self.url}", "uri": SHARE, "sharedSecret": self.secret}
        given = {name: it for name, it in {**parameters, **changes}.items() if it is not None}
        return {"type": "ocm", "parameters": given, "path": path}

    def old_way(self) -> None:
        """Be a server that knows its shares by the user's name alone, as Nextcloud and ownCloud."""
        self.root = OLD_ROOT
        self.discovery = discovery(self.url, OLD_ROOT)
        self.paths["/.well-known/ocm"] = lambda handler: reply(handler, 404)
        self.paths["/ocm-provider"] = self._discover
        user = base64.b64encode(f"{self.secret}:".encode()).decode()
        self.accepts = lambda it: it == f"Basic {user}"

    def credentials(self) -> set[str | None]:
        """The values of Authorization that requests for the share had."""
        return {it for path, it in self.presented if path.startswith(self.root.rstrip("/"))}

    def __call__(self, handler: Handler) -> None:
        path = unquote(handler.path)
        authorization = handler.headers.get("Authorization")
        with self._lock:
            self.asked.append((handler.command, path))
            self.presented.append((path, authorization))
        if (answer := self.paths.get(path)) is not None:
            answer(handler)
        elif path == "/.well-known/ocm":
            self._discover(handler)
        elif not f"{path}/".startswith(self.root):
            reply(handler, 404)
        else:
            self.on_read(handler)
            if self.accepts(authorization):
                self._read(handler, path)
            else:
                reply(handler, 401)

    def _discover(self, handler: Handler) -> None:
        reply(handler, 200, json.dumps(self.discovery).encode(), "application/json")

    def _read(self, handler: Handler, path: str) -> None:
        name = path.removeprefix(self.root.rstrip("/")).strip("/")
        is_folder = name not in self.files
        if handler.command == "PROPFIND":
            shown = self._entries(name, is_folder, handler.headers.get("Depth") == "1")
            reply(handler, 207 if shown else 404, multistatus(shown), "text/xml")
        elif is_folder:
            reply(handler, 404 if handler.command in ("GET", "HEAD") else 403)
        elif handler.command in ("GET", "HEAD"):
            reply(handler, 200, self.files[name])
        else:
            reply(handler, 403)

    def _entries(self, name: str, is_folder: bool, with_content: bool) -> dict[str, int]:
        if not is_folder:
            whole = self.root + name if name else self.root.rstrip("/")
            return {whole: len(self.files[name])}
        start = f"{name}/" if name else ""
        inside = [path for path in self.files if path.startswith(start)]
        if not inside and name:
            return {}
        shown = {self.root + start: 0}
        for path in inside if with_content else ():
            first, has_more, _ = path.removeprefix(start).partition("/")
            size = 0 if has_more else len(self.files[path])
            shown[f"{self.root}{start}{first}{'/' if has_more else ''}"] = size
        return shown


def discovery(url: str, root: str = ROOT, **more: Any) -> dict[str, Any]:
    """What a server says about itself."""
    kind = {"name": "file", "shareTypes": ["user"], "protocols": {"webdav": root}}
    return {
        "enabled": True,
        "apiVersion": "1.2.2",
        "endPoint": f"{url}/ocm",
        "resourceTypes": [kind],
        **more,
    }


@contextmanager
def sharing(files: dict[str, bytes]) -> Iterator[Peer]:
    """A server that shares these files."""
    peer = Peer(files)
    with misbehaving(peer) as url:
        peer.url = url
        peer.discovery = discovery(url)
        yield peer
