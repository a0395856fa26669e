"""Classifies addresses as public or not, and resolves host names.

The table of networks that are not public follows IANA's special-purpose address registries
(RFC 6890 and its successors). Python's own `is_global` differs between releases, and counts
multicast addresses as global.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_address, ip_network
from threading import BoundedSemaphore, Thread
from typing import Final

from efss_transfer.model.targets import Address, Network, unwrap_ipv4

ConnectionCheck = Callable[[str, int, Address], bool]
"""Whether a connection is allowed to a host (lower case, without a trailing dot), a port, and
one of the host's addresses. It is called from several threads. An exception means no.
"""

RESOLVE_SECONDS: Final = 10.0
"""The time limit for resolving a name: the same as for making a connection."""

# A resolver that hangs occupies a thread until it gives up, so their number is limited.
_RESOLVER_SLOTS: Final = BoundedSemaphore(64)

_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 is this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers (CGNAT)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; metadata services of the clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; one cloud's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "::/8",  # unspecified, loopback, IPv4-compatible; IPv4-mapped ones are unwrapped first
        "100::/64",  # discard
        "2001::/23",  # protocol assignments, Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local; metadata services of the clouds
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, withdrawn
        "ff00::/8",  # multicast
    )
)


def is_public(address: Address) -> bool:
    """Whether an address belongs to one host on the public Internet."""
    unwrapped = unwrap_ipv4(address)
    return not any(
        unwrapped in network for network in _NOT_PUBLIC if network.version == unwrapped.version
    )


def resolve(host: str, seconds: float = RESOLVE_SECONDS) -> list[Address]:
    """All addresses of a host, in any spelling that the resolver accepts, such as 127.1.

    Empty if the name does not exist, or the resolver does not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    result: Future[list[Address]] = Future()

    def run() -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            result.set_result([ip_address(answer[4][0]) for answer in answers])
        except (OSError, ValueError):
            result.set_result([])
        finally:
            _RESOLVER_SLOTS.release()

    # In a thread of its own, because a resolver cannot be interrupted.
    if not _RESOLVER_SLOTS.acquire(timeout=seconds):
        return []
    Thread(target=run, name="resolver", daemon=True).start()
    try:
        return result.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return []
