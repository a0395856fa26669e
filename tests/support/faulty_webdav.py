"""A WebDAV server that works, and fails where it is told to: what no real server does on order.

    with faulty.serving() as dav:
        dav.fill("data", {"good.txt": b"…", "bad.txt": b"…"})
        dav.fail("GET", "/data/bad.txt", faulty.status(500))             # always
        dav.fail("PUT", "*", faulty.sabre(423, "…", "…"), times=2)       # then fine
        function.copy(dav.storage.endpoint("data"), …)
        assert len(dav.seen("GET", "/data/bad.txt")) == 3

Its content is in its memory: `files` by path, and `dav.storage` is a `Storage` like any
other. Below /remote.php/dav/ it is as much of a Nextcloud as rclone needs: it takes a
file's time, and puts chunks together. But it does not say that it is one: it answers questions
about the site by 404, past all faults, and does not log them.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from support import storages as servers
from support.stand_in.faults import Fault, Faults, Kind, Request, reset, stall, status, truncate
from support.storages import Storage, digest

__all__ = [
    "NEXTCLOUD",
    "Fault",
    "Faulty",
    "Kind",
    "Request",
    "checksum",
    "etag",
    "reset",
    "sabre",
    "serving",
    "stall",
    "status",
    "truncate",
]

NEXTCLOUD: Final = "/remote.php/dav/files/alice"
"""Where the files of a Nextcloud's user are; the chunks of uploads are beside it."""


def sabre(code: int, exception: str, message: str) -> Fault:
    """A status with the body that Nextcloud and ownCloud send, whose server is sabre/dav."""
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">'
        f"<s:exception>{escape(exception)}</s:exception><s:message>{escape(message)}</s:message>"
        "</d:error>"
    )
    return status(code, body.encode(), Content_Type="application/xml")


@dataclass
class Faulty:
    """The server. Paths begin with `/` and have none at their end; they are not quoted.

    `conditions`: whether it honours If-Match, If-None-Match and Overwrite. `rewrite` changes the
    body of each listing before it is sent, by the path that was listed. `chunked`: whether it
    sends contents without their length. `blind`: whether names are one to it that differ in case,
    Unicode form or dots at their end, as on disks of Windows or macOS; it lists the first. `times`:
    the time that it keeps of X-OC-Mtime, which may be none. `in_place`: whether what has arrived of
    an upload that breaks off is its file. `copier` carries out third-party copies, and gives the
    pieces of the answer. `decodes`: whether it decodes the Destination of a MOVE; XRootD does not.
    `digest_of` gives the Digest of a HEAD that wants one. `delete_seconds` pass before a DELETE
    takes effect, after its conditions were looked at.
    """

    url: str = ""
    ranges: bool = True
    conditions: bool = True
    chunked: bool = False
    blind: bool = False
    decodes: bool = True
    times: Callable[[float], float | None] = lambda given: given
    in_place: bool = False
    delete_seconds: float = 0
    rewrite: Callable[[str, bytes], bytes] = lambda _, body: body
    copier: Callable[[Request], Iterator[bytes]] | None = None
    digest_of: Callable[[str, bytes], str] = lambda _, __: ""
    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {""})
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self._faults = Faults()
        self._times: dict[str, float] = {}

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
        """Let requests of a method (`*`: any) for a path (a pattern of fnmatch), of which `when`
        is true, meet a fault: all of them, or `times`; the first `skip` of them are served.
        """
        with self.lock:
            self._faults.plan(method, path, fault, times=times, skip=skip, when=when)

    def heal(self) -> None:
        """Fail no more, and forget the requests so far."""
        with self.lock:
            self._faults.clear()
            self.requests.clear()

    def spare(self, path: str) -> None:
        """Plan no fault any more for a path as it was planned."""
        with self.lock:
            self._faults.clear(path)

    def seen(self, method: str = "*", path: str = "*") -> list[Request]:
        """The requests so far, of a method and for a path (a pattern)."""
        with self.lock:
            return [
                request
                for request in self.requests
                if method in ("*", request.method) and fnmatchcase(request.path, path)
            ]

    @property
    def storage(self) -> Storage:
        """As the tests name a storage."""
        return Storage("webdav", {"url": self.url, "vendor": "other"}, self._write, self.hashes)

    def endpoint(self, path: str, base: str = "", **changes: Any) -> dict[str, Any]:
        """As a request names a path below the folder `base`, which is part of the URL."""
        return self.storage.endpoint(path, url=self.url + base, **changes)

    @property
    def nextcloud(self) -> Storage:
        """The same as a Nextcloud: its hashes are those of the user's files."""
        return Storage(
            "webdav",
            {
                "url": self.url + NEXTCLOUD,
                "vendor": "nextcloud",
                "user": "alice",
                "pass": servers.password(),
            },
            lambda path, content: self._write(f"{NEXTCLOUD}/{path}", content),
            lambda path: self.hashes(f"{NEXTCLOUD}/{path}"),
        )

    def fill(self, folder: str, files: dict[str, bytes]) -> dict[str, str]:
        """Write files below a folder; their hashes."""
        return self.storage.fill(folder, files)

    def hashes(self, path: str) -> dict[str, str]:
        """The hash of every file below a folder, by relative path."""
        root = "/" + path.strip("/") + "/" if path.strip("/") else "/"
        with self.lock:
            return {
                name.removeprefix(root): digest(content)
                for name, content in sorted(self.files.items())
                if name.startswith(root)
            }

    def _write(self, path: str, content: bytes) -> None:
        parts = path.strip("/").split("/")
        with self.lock:
            for depth in range(len(parts)):
                self.folders.add("".join(f"/{part}" for part in parts[:depth]))
            self.store("/" + "/".join(parts), content)

    def read(self, path: str) -> bytes | None:
        """Content that is sent; None if no file is at the path."""
        return self.files.get(path)

    def receive(self, path: str, content: bytes, modified: float | None) -> None:
        """Store what was uploaded."""
        self.store(path, content, modified)

    def store(self, path: str, content: bytes, modified: float | None = None) -> None:
        """Put content at a path."""
        with self.lock:
            self.files[path] = content
            self._times[path] = modified or time.time()

    def spelled(self, path: str) -> str:
        """The path as the names are spelled that are there."""
        if not self.blind:
            return path
        with self.lock:
            there = {_folded(name): name for name in (*self.folders, *self.files)}
        found = ""
        for part in path.split("/")[1:]:
            found = there.get(_folded(f"{found}/{part}"), f"{found}/{part}")
        return found

    def fault_of(self, request: Request) -> Fault | None:
        """What this request meets, if anything; it is counted."""
        with self.lock:
            self.requests.append(request)
            return self._faults.of(request)

    def listing(self, asked: str, depth: str) -> bytes | None:
        """What a PROPFIND answers; None if there is nothing at the path."""
        path = self.spelled(asked)
        with self.lock:
            if path in self.files:
                found = [path]
            elif path in self.folders:
                found = [path]
                if depth != "0":
                    inside = f"{path}/"
                    found += [
                        name
                        for name in sorted({*self.folders, *self.files})
                        if name.startswith(inside)
                        and name != path
                        and "/" not in name.removeprefix(inside)
                    ]
            else:
                return None
            return (
                '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
                + "".join(self._described(name, asked + name[len(path) :]) for name in found)
                + "</d:multistatus>"
            ).encode()

    def _described(self, path: str, shown: str) -> str:
        if path in self.files:
            href, size = quote(shown), len(self.files[path])
            kind = f"<d:resourcetype/><d:getcontentlength>{size}</d:getcontentlength>"
            kind += f"<d:getetag>{escape(etag(self.files[path]))}</d:getetag>"
            if path.startswith(NEXTCLOUD):
                claimed = checksum(self.files[path])
                kind += f"<oc:checksums><oc:checksum>{claimed}</oc:checksum></oc:checksums>"
        else:
            href, kind = quote(shown) + "/", "<d:resourcetype><d:collection/></d:resourcetype>"
        modified = formatdate(self._times.get(path, 0), usegmt=True)
        return (
            f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{kind}"
            f"<d:getlastmodified>{modified}</d:getlastmodified></d:prop>"
            "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )


def _folded(path: str) -> str:
    path = unicodedata.normalize("NFC", path).lower()
    return "/".join(part.rstrip(". ") for part in path.split("/"))


def etag(content: bytes) -> str:
    """The ETag of a file with this content."""
    return f'"{digest(content)[:16]}"'


def checksum(content: bytes) -> str:
    return "SHA1:" + hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def serving(
    *, ranges: bool = True, conditions: bool = True, tls: ssl.SSLContext | None = None
) -> Iterator[Faulty]:
    """The server, for the length of the block. `ranges`: whether it honours Range, and
    `conditions` If-Match and If-None-Match.
    """
    # Here and not above: the handler is made of this module's types.
    from support.faulty_webdav_handler import Server

    dav = Faulty(ranges=ranges, conditions=conditions)
    with Server(dav) as server, servers.serving(server.serve_forever, server.shutdown):
        if tls is not None:
            # The handshake is left to each request's thread: one client must not hold up others.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        dav.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        dav.folders |= {
            "/remote.php",
            "/remote.php/dav",
            "/remote.php/dav/files",
            NEXTCLOUD,
        }
        try:
            yield dav
        finally:
            dav.ended.set()
