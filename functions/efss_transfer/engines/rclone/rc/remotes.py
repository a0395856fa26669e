"""rclone's remotes for a request's endpoints: names, parameters, and fs strings.

The service chooses a remote's name itself: a name from outside, or a path without a remote,
can smuggle in a connection string or mean the local disk.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from efss_transfer.engines.rclone.rc.allowed_options import rclone_parameters
from efss_transfer.model.request import Endpoint, TransferRequest, Value
from efss_transfer.model.result import Side
from efss_transfer.model.storage_traits import traits

_NO_BUCKET_CHECK: Final = {
    "s3": "no_check_bucket",
    "google cloud storage": "no_check_bucket",
    "azureblob": "no_check_container",
}
# Go's HTTP client would unpack what such a server sends with `Content-Encoding: gzip`, and the file
# would arrive with other bytes than the source has. The other backends take care of that.
_UNPACKED: Final = frozenset({"doi", "http", "webdav"})
_NEXTCLOUD_FILES: Final = re.compile(r"^(?P<url>.*/dav/files/[^/]+)/(?P<path>.*[^/])/*$")


@dataclass(frozen=True)
class Remote:
    """A remote to create. `parameters` are strings, because rclone turns a number into a text
    such as `1e+06`.
    """

    name: str
    backend: str
    parameters: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class RemotePath:
    """A path in a remote, on one side of the transfer."""

    remote: Remote
    path: str
    side: Side
    options: str = ""
    """Options of this use of the remote, as rclone writes them behind its name."""

    @property
    def fs(self) -> str:
        """Remote and path, as rclone's `srcFs` and `dstFs` take them."""
        return f"{self.remote.name}{self.options}:{self.path}"

    @property
    def is_folder(self) -> bool:
        """Whether the path can only be a folder: it ends in `/`, or is the root."""
        return self.is_root or self.path.endswith("/")

    @property
    def is_root(self) -> bool:
        """Whether the path has no parent folder: it is the storage's root, or a bucket."""
        path = self.path.rstrip("/")
        return "/" not in path if traits(self.remote.backend).has_buckets else path == ""

    @property
    def bucket(self) -> str | None:
        """The bucket that contains the path; None where a storage has no buckets."""
        first = self.path.lstrip("/").partition("/")[0]
        return first if traits(self.remote.backend).has_buckets else None

    @property
    def ignores_case(self) -> bool:
        """Whether names that differ only in case are known to be one here."""
        is_told_apart = self.remote.parameters.get("case_insensitive") == "false"
        return traits(self.remote.backend).ignores_case and not is_told_apart

    @property
    def parent(self) -> str:
        """The fs of the parent folder."""
        head, _ = posixpath.split(self.path.rstrip("/"))
        return f"{self.remote.name}{self.options}:{head}"

    @property
    def name(self) -> str:
        """The last part of the path; empty for a root."""
        return posixpath.basename(self.path.rstrip("/"))


def remote_paths(
    request: TransferRequest,
    extra_parameters: Callable[[str], Mapping[str, str]] = lambda _: {},
    route_parameters: Callable[[str, str], Mapping[str, str]] = lambda _side, _type: {},
) -> tuple[RemotePath, RemotePath]:
    """The source and the destination.

    `extra_parameters` returns more parameters for a type, and `route_parameters` those that
    route the connections of a side with this type. Raises EngineError if a parameter is not
    allowed.

    If both sides have the same server and credentials, they share one remote, with the source's
    route: rclone lets a storage copy on its own only within a remote. (Across two remotes it
    would need `ServerSideAcrossConfigs`, which has copied wrong objects, so that is never used.)
    """
    creates_bucket = request.options.create_bucket
    source, destination = (
        _remote_path(side.value, side, end, extra_parameters, creates_bucket=creates_bucket)
        for side, end in ((Side.SOURCE, request.source), (Side.DESTINATION, request.destination))
    )
    is_shared = (source.remote.backend, source.remote.parameters) == (
        destination.remote.backend,
        destination.remote.parameters,
    )
    source = _routed(source, route_parameters)
    if is_shared:
        return source, RemotePath(source.remote, destination.path, Side.DESTINATION)
    return source, _routed(destination, route_parameters)


def _routed(
    path: RemotePath, route_parameters: Callable[[str, str], Mapping[str, str]]
) -> RemotePath:
    remote = path.remote
    parameters = {**remote.parameters, **route_parameters(path.side.value, remote.backend)}
    return RemotePath(Remote(remote.name, remote.backend, parameters), path.path, path.side)


def _remote_path(
    name: str,
    side: Side,
    endpoint: Endpoint,
    extra_parameters: Callable[[str], Mapping[str, str]],
    *,
    creates_bucket: bool,
) -> RemotePath:
    allowed = rclone_parameters(endpoint.type, endpoint.parameters)
    parameters = {key: _text(key, value) for key, value in allowed.items()}
    if ":" in (host := parameters.get("host", "")) and not host.startswith("["):
        # rclone appends a colon and the port, and adds no brackets to an IPv6 address.
        parameters["host"] = f"[{host}]"
    parameters |= extra_parameters(endpoint.type)
    if endpoint.type in _UNPACKED:
        parameters["override.no_gzip_encoding"] = "true"
    path = endpoint.path
    if endpoint.type == "s3":
        # Without a provider rclone warns, and uses `Other`.
        parameters.setdefault("provider", "Other" if "endpoint" in parameters else "AWS")
    if endpoint.type == "sftp" and parameters.get("disable_hashcheck") == "true":
        # rclone would ask the server's shell for its type all the same, without a time limit.
        parameters["shell_type"] = "none"
    if endpoint.type == "webdav" and (nested := _NEXTCLOUD_FILES.match(parameters["url"])):
        # rclone names the folder of an upload's chunks after the path in the remote alone: two
        # transfers whose paths differ only in their URLs would mix their chunks. So the whole
        # path moves from the URL into the remote's path.
        parameters["url"] = nested["url"]
        path = posixpath.join(unquote(nested["path"]), path.lstrip("/"))
    if not traits(endpoint.type).has_home:
        path = path.lstrip("/")
    if not creates_bucket and endpoint.type in _NO_BUCKET_CHECK:
        # rclone would create a missing bucket, and needs the right to do so even if it is there.
        # The source has it as well, so that both sides can be one remote.
        parameters[_NO_BUCKET_CHECK[endpoint.type]] = "true"
    return RemotePath(Remote(name, endpoint.type, parameters), path, side)


def _text(name: str, value: Value) -> str:
    """A parameter's value as rclone takes it, which refuses a line break in any value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if name == "key_pem":
        # Here rclone takes the two characters \n for a line break.
        return text.strip().replace("\r", "").replace("\n", "\\n")
    if name == "service_account_credentials":
        # JSON, in which a line break can only be white space.
        return text.replace("\r", " ").replace("\n", " ")
    return text
