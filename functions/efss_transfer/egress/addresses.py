"""Where a connection would go: hosts in one spelling, their addresses, and which are public.

What is private, shared, or of no use to a caller is read from IANA's special-purpose
address registries (RFC 6890 and its successors), as a table of our own: Python's
`is_global` differs between its releases, and calls multicast global.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_address, ip_network
from threading import BoundedSemaphore, Thread
from typing import Final

from efss_transfer.model.targets import Address, Network, inner

Permits = Callable[[str, int, Address], bool]
"""Whether a connection may be made: to a host (in small letters and without a final dot), a
port, and an address that the host has. It is asked in threads; an error that it raises is a
no.
"""

RESOLVE_SECONDS: Final = 10.0
"""How long a name may take to resolve: as long as a connection may take."""

# A resolver that hangs holds a thread until it gives up; more than these are not started.
_RESOLVERS: Final = BoundedSemaphore(64)


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
        "::/8",  # unspecified, loopback, IPv4-compatible; mapped ones are looked into
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
    """Whether an address belongs to the public Internet and to one host of it."""
    meant = inner(address)
    return not any(meant in network for network in _NOT_PUBLIC if network.version == meant.version)


def resolved(host: str, seconds: float = RESOLVE_SECONDS) -> list[Address]:
    """All addresses of a host, however it is written: a resolver takes 127.1 for one, too.

    Empty if there is no such name, or the resolver does not answer in that many seconds.
    """
    until = time.monotonic() + seconds
    found: Future[list[Address]] = Future()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found.set_result([ip_address(answer[4][0]) for answer in answers])
        except (OSError, ValueError):
            found.set_result([])
        finally:
            _RESOLVERS.release()

    # A thread of its own, because there is no way to stop a resolver.
    if not _RESOLVERS.acquire(timeout=seconds):
        return []
    Thread(target=ask, name="resolver", daemon=True).start()
    try:
        return found.result(max(0.0, until - time.monotonic()))
    except TimeoutError:
        return []
