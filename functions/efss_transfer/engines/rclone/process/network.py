"""The way on which rclone's connections leave: the guard, or the site's proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from efss_transfer.egress.addresses import resolved
from efss_transfer.egress.proxy import guard
from efss_transfer.egress.rules import Egress
from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import TransferRequest

UNGUARDED: Final[Mapping[str, str | None]] = {"smb": "host", "hdfs": None}
"""Types that rclone can make use no proxy: see Engine.unguarded."""

# They dial for themselves, and must be told of a proxy by a parameter.
_OWN_DIALLERS: Final = frozenset({"sftp", "ftp"})
_SMB_PORT: Final = 445


@dataclass(frozen=True)
class Route:
    """How rclone is made to take it.

    `proxy` is a flag's value, `parameter` what remotes that dial for themselves are given;
    `ports` are all that it has to connect to, or None if that is not known.
    """

    proxy: str
    parameter: tuple[str, str]
    ports: frozenset[int] | None

    def remote_parameters(self, storage: str) -> dict[str, str]:
        """What a remote of this type must be given besides its own parameters."""
        return dict([self.parameter]) if storage in _OWN_DIALLERS else {}


@contextmanager
def open_route(egress: Egress, request: TransferRequest | None) -> Iterator[Route]:
    """The way for the length of the block; without a request, for whatever takes the guard."""
    if egress.proxy is not None:
        yield _by_proxy(egress.proxy)
        return
    with guard(egress.permits) as guarding:
        yield Route(
            f"socks5://127.0.0.1:{guarding.port}",
            ("socks_proxy", f"127.0.0.1:{guarding.port}"),
            _ports(guarding.port, request),
        )


def _by_proxy(url: str) -> Route:
    """By the site's proxy, and by its address: rclone itself looks no names up."""
    parts = urlsplit(url)
    found = resolved(parts.hostname or "")
    if not found or parts.port is None:
        raise EngineError("The site's proxy for connections has no address.")
    host = f"[{found[0]}]" if found[0].version == 6 else str(found[0])
    proxy = f"http://{host}:{parts.port}"
    return Route(proxy, ("http_proxy", proxy), frozenset({parts.port}))


def _ports(guarding: int, request: TransferRequest | None) -> frozenset[int] | None:
    ports = {guarding}
    for end in (request.source, request.destination) if request else ():
        if end.type == "smb":
            ports.add(int(end.parameters.get("port", _SMB_PORT)))
        elif end.type in UNGUARDED:
            return None
    return frozenset(ports)
