"""Whether the two ends of a request are two places."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.targets import WEB_PORTS, target

_PORTS: Final = {"sftp": 22, "ftp": 21, "smb": 445}

# What tells one place from another besides hosts and paths. Of types that are not listed
# all parameters count: two accounts of a service are then two places.
_IDENTITY: Final[dict[str, tuple[str, ...]]] = {
    "webdav": (),
    "http": (),
    "s3": (),
    "google cloud storage": (),
    "b2": (),
    "internetarchive": (),
    "smb": (),
    "hdfs": (),
    "seafile": ("library",),
    "azureblob": ("account",),
    "azurefiles": ("account", "share_name"),
    # A path may begin in the user's home, so the user belongs to the place.
    "sftp": ("user",),
    "ftp": ("user",),
}

# Addresses of Nextcloud and ownCloud behind which each user, or each public link, whose
# token is the user's name, finds files of its own.
_EACH_USERS_OWN: Final = re.compile(r"/(remote|public)\.php/webdav(/|$)")


def distinct(request: TransferRequest) -> None:
    """Refuse a copy of a place onto itself, or into itself. Raises InvalidRequest.

    The one does nothing, and rclone calls that a success; the other may never end.
    Different credentials do not make two places.
    """
    source, destination = _place(request.source), _place(request.destination)
    if source[0] == destination[0] and _holds(source[1], destination[1]):
        raise InvalidRequest(
            [
                Violation(
                    "/destination",
                    "distinct",
                    "Must be another place than the source, and not within it.",
                )
            ]
        )


def _holds(folder: str, path: str) -> bool:
    """Whether a path is a folder, or within it. The root holds every home."""
    return folder in (path, "/") or path.startswith(folder + "/")


def _place(end: Endpoint) -> tuple[tuple[str, ...], str]:
    """Where an endpoint is: its server, and the path on it, each in one spelling.

    The path begins with `/`, or with `~` for a home.
    """
    parameters, path = end.parameters, end.path
    server = [end.type, *_hosts(end)]
    names = _IDENTITY.get(end.type, tuple(sorted(parameters)))
    server += [f"{name}={parameters[name]}" for name in names if name in parameters]
    if end.type in ("sftp", "ftp"):
        path = path if path.startswith("/") else f"~/{path}"
    elif end.type in ("webdav", "http"):
        url = urlsplit(str(parameters["url"]))
        if _EACH_USERS_OWN.search(url.path):
            server.append(str(parameters.get("user", "")))
        path = posixpath.join("/", unquote(url.path), path.lstrip("/"))
    else:
        path = f"/{path}"
    # normpath alone keeps a leading double slash, which POSIX allows to mean something.
    return tuple(server), posixpath.normpath(path).replace("//", "/")


def _hosts(end: Endpoint) -> list[str]:
    hosts = []
    for member, form in sorted(end.dials.items()):
        if form == "service_account":
            continue  # it says who asks, and not for what
        port = int(end.parameters.get("port", _PORTS.get(end.type, 0)))
        found = target(form, str(end.parameters[member]), port)
        if found is not None:
            # http and https of a host are one place where their ports are the usual ones.
            usual = found.port in WEB_PORTS.values() and form != "host"
            hosts.append(f"{found.host}:{'' if usual else found.port}")
    if not hosts and end.type == "s3":
        hosts.append(str(end.parameters.get("provider", "AWS")))
    return hosts
