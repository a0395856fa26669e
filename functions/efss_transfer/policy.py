"""What is refused although the schema allows it, before anything starts."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from efss_transfer.engines.base import Endpoint, TransferRequest
from efss_transfer.errors import InvalidRequest, Violation

_PORTS: Final = {"http": 80, "https": 443, "sftp": 22, "ftp": 21}

# Addresses of Nextcloud and ownCloud behind which each user, or each public link, whose
# token is the user's name, finds files of its own.
_EACH_USERS_OWN: Final = re.compile(r"/(remote|public)\.php/webdav(/|$)")


def check(request: TransferRequest) -> None:
    """Refuse a request that makes no sense. Raises InvalidRequest.

    A copy of a place onto itself does nothing, and rclone calls that a success; a copy of
    a folder into itself may never end. Different credentials do not make two places.
    """
    source = _checked("source", request.source)
    destination = _checked("destination", request.destination)
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


def _checked(side: str, endpoint: Endpoint) -> tuple[tuple[str, ...], str]:
    try:
        return place(endpoint)
    except ValueError:  # what a pattern cannot tell: port 99999, or [1:2] for a host
        name = "url" if endpoint.type == "webdav" else "endpoint"
        raise InvalidRequest(
            [
                Violation(
                    f"/{side}/parameters/{name}",
                    "format",
                    "Must have a host that is a name or an address, and a port up to 65535.",
                )
            ]
        ) from None


def place(endpoint: Endpoint) -> tuple[tuple[str, ...], str]:
    """Where an endpoint is: its server, and the path on it, each in one spelling.

    The path begins with `/`, or with `~` for a home. Raises ValueError if an address is none.
    """
    parameters, path = endpoint.parameters, endpoint.path
    match endpoint.type:
        case "webdav":
            url = urlsplit(str(parameters["url"]))
            server = [_host(str(parameters["url"]))]
            if _EACH_USERS_OWN.search(url.path):
                server.append(str(parameters.get("user", "")))
            path = posixpath.join("/", unquote(url.path), path.lstrip("/"))
        case "sftp" | "ftp":
            host = str(parameters["host"]).lower().rstrip(".")
            port = int(parameters.get("port", _PORTS[endpoint.type]))
            # A path may begin in the user's home, so the user belongs to the place.
            server = [host, str(port), str(parameters["user"])]
            path = path if path.startswith("/") else f"~/{path}"
        case "s3":
            server = [_host(str(parameters.get("endpoint", parameters.get("provider", "AWS"))))]
            path = f"/{path}"
        case _:
            server = [_host(str(parameters.get("endpoint", "")))]
            path = f"/{path}"
    # normpath alone keeps a leading double slash, which POSIX allows to mean something.
    return (endpoint.type, *server), posixpath.normpath(path).replace("//", "/")


def _host(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"https://{url}")
    port = parts.port if parts.port != _PORTS.get(parts.scheme.lower()) else None
    # http and https of a host are one place where their ports are the usual ones.
    return f"{(parts.hostname or '').rstrip('.')}:{port or ''}"
