"""Detects requests that copy a location onto or into itself."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.storage_traits import traits
from efss_transfer.model.targets import WEB_PORTS

# Nextcloud and ownCloud URLs that show each user, or each public link, other files. The token
# of a public link is its user name.
_PER_USER_URL: Final = re.compile(r"/(remote|public)\.php/webdav(/|$)")


def check_distinct(request: TransferRequest) -> None:
    """Refuse a copy of a location onto or into itself. Raises InvalidRequest.

    The first copies nothing, and rclone reports success; the second may never end. Different
    credentials do not make two locations.
    """
    source_server, source_path = _location(request.source)
    destination_server, destination_path = _location(request.destination)
    if source_server == destination_server and _contains(source_path, destination_path):
        raise InvalidRequest(
            [
                Violation(
                    "/destination",
                    "distinct",
                    "Must be a different location from the source, and not inside it.",
                )
            ]
        )


def _contains(folder: str, path: str) -> bool:
    """Whether `path` is `folder` or inside it. The root contains every home."""
    return folder in (path, "/") or path.startswith(folder + "/")


def _location(endpoint: Endpoint) -> tuple[tuple[str, ...], str]:
    """An endpoint's server and the path on it, both in canonical form.

    The path begins with `/`, or with `~` if it is relative to the user's home.
    """
    parameters, path = endpoint.parameters, endpoint.path
    known = traits(endpoint.type)
    server = [endpoint.type, *_hosts(endpoint)]
    names = tuple(sorted(parameters)) if known.identity is None else known.identity
    server += [f"{name}={parameters[name]}" for name in names if name in parameters]
    if known.has_home:
        path = path if path.startswith("/") else f"~/{path}"
    elif endpoint.type in ("webdav", "http"):
        url = urlsplit(str(parameters["url"]))
        if _PER_USER_URL.search(url.path):
            server.append(str(parameters.get("user", "")))
        path = posixpath.join("/", unquote(url.path), path.lstrip("/"))
    else:
        path = f"/{path}"
    # normpath keeps a leading double slash, which POSIX reserves.
    return tuple(server), posixpath.normpath(path).replace("//", "/")


def _hosts(endpoint: Endpoint) -> list[str]:
    hosts = []
    for parameter, target in sorted(endpoint.locations.items()):
        form = endpoint.target_forms[parameter]
        if form == "service_account":
            continue  # its URL identifies who signs in, not a location
        port = target.port or traits(endpoint.type).default_port
        # http and https on their default ports are the same location.
        is_web_default = port in WEB_PORTS.values() and form != "host"
        hosts.append(f"{target.host}:{'' if is_web_default else port}")
    if not hosts and endpoint.type == "s3":
        hosts.append(str(endpoint.parameters.get("provider", "AWS")))
    return hosts
