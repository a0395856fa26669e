"""From a request's endpoints to rclone's remotes: names, parameters, and fs strings.

A remote's name is always this service's own: a name, or a path without one, can smuggle
a connection string or mean the local disk (rclone-option-risks.json).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from efss_transfer.engines.rclone.rc.allowed_options import for_rclone
from efss_transfer.model.request import Endpoint, TransferRequest, Value
from efss_transfer.model.result import Side

BUCKET_TYPES: Final = frozenset(
    {"s3", "google cloud storage", "swift", "azureblob", "b2", "internetarchive"}
)
"""Types whose paths begin with a bucket, and in which a folder is only a part of names."""

_ROOTED: Final = frozenset({"sftp", "ftp"})
"""Types in which a leading `/` means the server's root, not the user's home."""

_NEXTCLOUD_FILES: Final = re.compile(r"^(?P<url>.*/dav/files/[^/]+)/(?P<path>.*[^/])/*$")


@dataclass(frozen=True)
class Remote:
    """A remote to create. `parameters` are strings: rclone turns a number that arrives
    as one into `1e+06`.
    """

    name: str
    backend: str
    parameters: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class RemotePath:
    """A place in a remote: what rclone calls an fs, and paths within it."""

    remote: Remote
    path: str
    side: Side

    @property
    def fs(self) -> str:
        """The whole place, as rclone's `srcFs` and `dstFs` take it."""
        return f"{self.remote.name}:{self.path}"

    @property
    def is_folder(self) -> bool:
        """Whether the path can be nothing but a folder: it says so, or it is the top."""
        return self.is_root or self.path.endswith("/")

    @property
    def is_root(self) -> bool:
        """Whether nothing holds this place but the storage: its root, or a bucket."""
        path = self.path.rstrip("/")
        return "/" not in path if self.remote.backend in BUCKET_TYPES else path == ""

    @property
    def parent(self) -> str:
        """The fs of the folder that holds this place."""
        head, _ = posixpath.split(self.path.rstrip("/"))
        return f"{self.remote.name}:{head}"

    @property
    def name(self) -> str:
        """The last part of the path; empty for a root."""
        return posixpath.basename(self.path.rstrip("/"))


def remote_paths(
    request: TransferRequest, more: Callable[[str], Mapping[str, str]] = lambda _: {}
) -> tuple[RemotePath, RemotePath]:
    """The source and the destination; `more` gives what a type is given besides.

    Raises EngineError if a parameter is not one that rclone may be given.

    If both are the same server with the same credentials, they share one remote: rclone
    lets a storage copy by itself only within a remote. (Across two remotes it would take
    `ServerSideAcrossConfigs`, which has copied wrong objects; it is never used.)
    """
    source = _place("source", Side.SOURCE, request.source, more)
    destination = _place("destination", Side.DESTINATION, request.destination, more)
    same = (source.remote.backend, source.remote.parameters) == (
        destination.remote.backend,
        destination.remote.parameters,
    )
    if same:
        destination = RemotePath(source.remote, destination.path, Side.DESTINATION)
    return source, destination


def _place(
    name: str, side: Side, endpoint: Endpoint, more: Callable[[str], Mapping[str, str]]
) -> RemotePath:
    allowed = for_rclone(endpoint.type, endpoint.parameters)
    parameters = {key: _text(key, value) for key, value in allowed.items()}
    if ":" in (host := parameters.get("host", "")) and not host.startswith("["):
        # rclone puts a colon and the port behind it as it is.
        parameters["host"] = f"[{host}]"
    parameters |= more(endpoint.type)
    path = endpoint.path
    if endpoint.type == "s3":
        # rclone warns of a provider that it was not told, and then treats it as `Other`.
        parameters.setdefault("provider", "Other" if "endpoint" in parameters else "AWS")
    if endpoint.type == "webdav" and (nested := _NEXTCLOUD_FILES.match(parameters["url"])):
        # rclone names the folder for an upload's chunks by the path in the remote alone:
        # two transfers whose paths differ only in their URLs would mix their chunks
        # (efss-facts.md, hazard 1). So all of the path stands in the remote's path.
        parameters["url"] = nested["url"]
        path = posixpath.join(unquote(nested["path"]), path.lstrip("/"))
    if endpoint.type not in _ROOTED:
        path = path.lstrip("/")
    return RemotePath(Remote(name, endpoint.type, parameters), path, side)


def _text(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if name == "key_pem":
        # rclone refuses a line end in any value, and takes the two characters \n here.
        return text.strip().replace("\r", "").replace("\n", "\\n")
    # JSON, in which a line end can only be white space.
    return (
        text.replace("\r", " ").replace("\n", " ")
        if name == "service_account_credentials"
        else text
    )
