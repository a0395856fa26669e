"""A server of Open Cloud Mesh that shares files, made for tests; each test changes what it says.

    with ocm.sharing({"a.csv": b"..."}) as peer:
        function.copy(peer.source(), destination)

`peer.accepts` decides by what value of Authorization the share can be read; at first it is the
shared secret as a bearer token, and `old_way` makes it that of the servers before the draft.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.http_servers import misbehaving, multistatus, reply
from support.storages import digest, password

ROOT: Final = "/remote/dav/ocm/"
OLD_ROOT: Final = "/public.php/webdav/"
SHARE: Final = "7c084226-d9a1"
KEY_ID: Final = "cloud.receiver.example#key1"
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


class Tokens:
    """The code flow of a peer: its token endpoint, and the tokens that are valid.

    With a `public_key` each request must be signed by it, as the draft has it. `answer` may
    answer a request, by its number, in another way.
    """

    def __init__(
        self, peer: Peer, seconds: float, public_key: Ed25519PublicKey | None = None
    ) -> None:
        self.seconds = seconds
        self.forms: list[dict[str, str]] = []
        self.issued: list[str] = []
        self.unsigned = 0
        self.answer: Callable[[int], tuple[int, Any] | None] = lambda _: None
        self._public_key = public_key
        self._secret = peer.secret
        self._ends: dict[str, float] = {}
        more = ["http-sig"] if public_key is not None else []
        peer.discovery |= {
            "tokenEndPoint": f"{peer.url}/ocm/token",
            "capabilities": ["exchange-token", *more],
        }
        peer.paths["/ocm/token"] = self._exchange
        peer.accepts = self._is_valid

    def expire(self) -> None:
        """End all tokens now."""
        self._ends.clear()

    def _is_valid(self, authorization: str | None) -> bool:
        token = (authorization or "").removeprefix("Bearer ")
        return self._ends.get(token, 0.0) > time.monotonic()

    def _exchange(self, handler: Handler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        form = {name: value for name, (value,) in parse_qs(body.decode()).items()}
        self.forms.append(form)
        is_signed = self._public_key is None or is_signed_by(self._public_key, handler, body)
        self.unsigned += not is_signed
        status, found = self.answer(len(self.forms)) or self._answer(form, is_signed=is_signed)
        del handler.headers["Content-Length"]  # `reply` would read it once more
        reply(handler, status, json.dumps(found).encode(), "application/json")

    def _answer(self, form: dict[str, str], *, is_signed: bool) -> tuple[int, Any]:
        if not is_signed:
            return 400, {"error": "invalid_client"}
        if form.get("grant_type") != "authorization_code":
            return 400, {"error": "unsupported_grant_type"}
        if form.get("code") != self._secret or "client_id" not in form:
            return 400, {"error": "invalid_grant"}
        token = password()
        self.issued.append(token)
        self._ends[token] = time.monotonic() + self.seconds
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.seconds}


def is_signed_by(key: Ed25519PublicKey, handler: Handler, body: bytes) -> bool:
    """Whether a request has one signature with the label `ocm`, over all that the draft names.

    Read from the headers as they came, by RFC 9421 and RFC 9530 and none of the service's code.
    """
    headers = handler.headers
    inputs = re.findall(r"(?:^|, *)ocm=(\([^)]*\)[^,]*)", headers.get("Signature-Input", ""))
    signatures = re.findall(r"(?:^|, *)ocm=:([A-Za-z0-9+/=]+):", headers.get("Signature", ""))
    if len(inputs) != 1 or len(signatures) != 1:
        return False
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    names = re.findall(r'"([^"]+)"', inputs[0].partition(")")[0])
    created = re.search(r";created=(\d+)", inputs[0])
    needed = {"@method", "@target-uri", "content-digest", "content-length", "date"}
    if (
        not needed <= set(names)
        or created is None
        or abs(time.time() - int(created[1])) > 60
        or f';keyid="{KEY_ID}"' not in inputs[0]
        or headers.get("Content-Digest") != f"sha-256=:{digest}:"
    ):
        return False
    derived = {
        "@method": handler.command,
        "@target-uri": f"http://{headers['Host']}{handler.path}",
    }
    lines = [f'"{name}": {derived.get(name) or headers[name].strip()}' for name in names]
    lines.append(f'"@signature-params": {inputs[0]}')
    try:
        key.verify(base64.b64decode(signatures[0]), "\n".join(lines).encode())
    except InvalidSignature:
        return False
    return True


def new_key() -> tuple[str, Ed25519PublicKey]:
    """A new private key in PEM, and its public key."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, key.public_key()
