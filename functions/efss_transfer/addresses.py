"""Where a connection would go: hosts in one spelling, their addresses, and which are public.

What is private, shared, or of no use to a caller is read from IANA's special-purpose
address registries (RFC 6890 and its successors), as a table of our own: Python's
`is_global` differs between its releases, and calls multicast global.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from threading import BoundedSemaphore, Thread
from typing import Final
from urllib.parse import urlsplit

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Permits = Callable[[str, int, Address], bool]
"""Whether a connection may be made: to a host (in small letters and without a final dot), a
port, and an address that the host has. It is asked in threads; an error that it raises is a
no.
"""

RESOLVE_SECONDS: Final = 10.0
"""How long a name may take to resolve: as long as a connection may take."""

# A resolver that hangs holds a thread until it gives up; more than these are not started.
_RESOLVERS: Final = BoundedSemaphore(64)

WEB_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_HOST: Final = 253
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

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
# Networks of IPv6 whose addresses hold one of IPv4, and how many bits stand behind it.
_HOLD_IPV4: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)


@dataclass(frozen=True)
class Target:
    """A host and a port, in the one spelling by which they are compared.

    `host` is in lower case and ASCII, with neither brackets nor a trailing dot.
    """

    host: str
    port: int | None

    @property
    def literal(self) -> Address | None:
        """The address, if the host is written as one in the usual way."""
        try:
            return inner(ip_address(self.host))
        except ValueError:
            return None


def target(form: str, value: str, port: int | None = None) -> Target | None:
    """Where a value that has one of the schema's dialling forms leads.

    `port` is the one that stands in a parameter beside it, for a bare host. None if the
    value leads nowhere else than its storage's own service. Raises ValueError if it is
    no host, or one that two programs may read in two ways.
    """
    if form == "service_account":
        account = json.loads(value)
        if not isinstance(account, dict) or account.get("type") != "service_account":
            # Other types of it name files to read, and programs to run.
            raise ValueError("not a service account")
        if "token_uri" not in account:
            return None
        return _from_url(str(account["token_uri"]))
    if form == "host":
        return Target(spelled(value), port)
    if form == "host_port":
        value = f"//{value}"
    elif form == "authority" and "://" not in value:
        value = f"https://{value}"
    return _from_url(value)


def _from_url(url: str) -> Target:
    parts = urlsplit(url)
    if parts.scheme not in ("", *WEB_PORTS) or parts.username is not None or "\\" in url:
        raise ValueError("not a URL that we know how to check")
    return Target(spelled(parts.hostname or ""), parts.port or WEB_PORTS.get(parts.scheme))


def spelled(host: str) -> str:
    """A host in one spelling. Raises ValueError if it is none.

    A name with letters beyond ASCII is written as a browser would (UTS 46): so a digit of
    another script becomes the digit that a resolver would see.
    """
    host = host.strip("[]").lower()
    if "%" in host:
        raise ValueError("a zone, or an escape that one program reads and another does not")
    if ":" in host:
        return str(IPv6Address(host))
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError("not a name") from None
    host = host.removesuffix(".")
    labels = host.split(".")
    known = all(
        0 < len(label) < 64 and label.replace("-", "a").replace("_", "a").isalnum()
        for label in labels
    )
    if not known or len(host) > _LONGEST_HOST:
        raise ValueError("not a name")
    if _NUMBER.fullmatch(labels[-1]):
        # An address then, and not one in octal, hexadecimal, or with too few parts: what
        # one program takes for 127.0.0.1 is another address to the next.
        return str(IPv4Address(host))
    return host


def inner(address: Address) -> Address:
    """The address that is meant: one of IPv4 that stands within one of IPv6, or itself."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("an address with a zone")
        for network, shift in _HOLD_IPV4:
            if address in network:
                return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address


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
