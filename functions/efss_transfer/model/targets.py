"""Hosts, ports and addresses in one spelling, so that two programs read them alike."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final
from urllib.parse import urlsplit

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
WEB_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_HOST: Final = 253
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


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
