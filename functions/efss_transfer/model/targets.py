"""Hosts, ports and addresses in canonical form, so that every program reads them alike."""

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
_MAX_HOST_LENGTH: Final = 253
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

# IPv6 networks whose addresses contain an IPv4 address, and how many bits follow it.
_EMBEDDED_IPV4: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)


@dataclass(frozen=True)
class Target:
    """A host and a port in canonical form, so that two targets can be compared.

    `host` is lower-case ASCII without brackets or a trailing dot.
    """

    host: str
    port: int | None

    @property
    def address(self) -> Address | None:
        """The IP address, if the host is one; None for a name."""
        try:
            return unwrap_ipv4(ip_address(self.host))
        except ValueError:
            return None


def parse_target(form: str, value: str, port: int | None = None) -> Target | None:
    """Parse a value that has one of the schema's connection forms.

    `port` is the value of the parameter `port`, and applies to a bare host. Returns None if
    the value leads only to its storage's own service. Raises ValueError if it is not a host,
    or one that two programs may read differently.
    """
    if form == "service_account":
        account = json.loads(value)
        if not isinstance(account, dict) or account.get("type") != "service_account":
            # Other account types name files to read and programs to run.
            raise ValueError("not a service account")
        if "token_uri" not in account:
            return None
        return _parse_url(str(account["token_uri"]))
    if form == "host":
        return Target(canonical_host(value), port)
    if form == "ocm_uri" and "://" not in value:
        return None  # a path at the sender's server, whose address is another parameter
    if form == "ocm_address":
        value = ocm_server(value)
    if form == "host_port":
        value = f"//{value}"
    elif form == "authority" and "://" not in value:
        value = f"https://{value}"
    return _parse_url(value)


def ocm_server(address: str) -> str:
    """The URL of the server that an address in Open Cloud Mesh names, such as `alice@host`."""
    host = address.rpartition("@")[2].rstrip("/")
    return host if "://" in host else f"https://{host}"


def _parse_url(url: str) -> Target:
    parts = urlsplit(url)
    if parts.scheme not in ("", *WEB_PORTS) or parts.username is not None or "\\" in url:
        raise ValueError("not a URL that can be checked")
    return Target(canonical_host(parts.hostname or ""), parts.port or WEB_PORTS.get(parts.scheme))


def canonical_host(host: str) -> str:
    """A host in canonical form. Raises ValueError if it is not a host.

    Non-ASCII names are encoded as a browser encodes them (UTS 46), so that a digit of
    another script becomes the digit that a resolver would see.
    """
    host = host.strip("[]").lower()
    if "%" in host:
        raise ValueError("an IPv6 zone, or an escape that programs decode differently")
    if ":" in host:
        return str(IPv6Address(host))
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError("not a host name") from None
    host = host.removesuffix(".")
    labels = host.split(".")
    valid = all(
        0 < len(label) < 64 and label.replace("-", "a").replace("_", "a").isalnum()
        for label in labels
    )
    if not valid or len(host) > _MAX_HOST_LENGTH:
        raise ValueError("not a host name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # An IPv4 address then, and only in dotted decimal with four parts: programs disagree
        # on octal, hexadecimal and shortened forms, so one may read 127.0.0.1 and the next
        # another address.
        return str(IPv4Address(host))
    return host


def unwrap_ipv4(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address, or else the address itself.

    Raises ValueError for an IPv6 address with a zone.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("an address with a zone")
        for network, shift in _EMBEDDED_IPV4:
            if address in network:
                return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address
