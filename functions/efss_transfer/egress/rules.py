"""Decides which hosts and addresses a transfer may connect to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.egress.addresses import ConnectionCheck, is_public
from efss_transfer.model.targets import Address, Network, Target, canonical_host, unwrap_ipv4

_FIRST_DATA_PORT: Final = 1024
_HOST_DENIED: Final = "This site denies connections to this host."
_HOST_NOT_ALLOWED: Final = "This host is not among the hosts that this site allows."
_NETWORK_NOT_ALLOWED: Final = (
    "This host's address is not public, and this site does not allow its network."
)


@dataclass(frozen=True)
class EgressRules:
    """The site's rules for outgoing connections.

    The last two attributes belong to one side of one transfer, if that names a storage of the
    site's: only this storage's own connections may go there.

    Attributes:
        hosts: If given, the only host names that are allowed besides those in `networks`.
            Their addresses must be public.
        networks: Networks that are allowed whatever the host's name.
        denied_hosts: Host names that are refused whatever allows them.
        denied_networks: Networks that are refused whatever allows them.
        site_targets: Hosts and ports of a storage from the site file.
        data_hosts: Hosts among them whose other ports are allowed from 1024 on: an FTP server
            chooses another port for each data connection.

    """

    hosts: tuple[str, ...] | None = None
    networks: tuple[Network, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    denied_networks: tuple[Network, ...] = ()
    site_targets: frozenset[Target] = frozenset()
    data_hosts: frozenset[str] = frozenset()

    def permits(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to one of a host's addresses is allowed."""
        return self.refusal(Target(host, port), [address]) is None

    def permits_unresolved(self, host: str, port: int) -> bool:
        """Whether a connection to a host is allowed where only the site's proxy knows its address.

        A host that is itself an address is judged by it.
        """
        try:
            target = Target(canonical_host(host), port)
            found = [] if target.address is None else [target.address]
        except ValueError:
            return False
        return self.refusal(target, found) is None

    def names(self, host: str) -> bool:
        """Whether the site allows a host by its name, and not only by its network."""
        return self.hosts is not None and _matches(host, self.hosts)

    def refusal_by_name(self, target: Target) -> str | None:
        """Why a host is refused whatever its addresses are, or None.

        A host that is refused by name must not be looked up: the query itself tells a name
        server something, and may take a long time.
        """
        if _matches(target.host, self.denied_hosts):
            return _HOST_DENIED
        if self._is_site_target(target) or self.hosts is None or self.networks:
            return None
        return None if _matches(target.host, self.hosts) else _HOST_NOT_ALLOWED

    def refusal(self, target: Target, addresses: Iterable[Address]) -> str | None:
        """Why a host with these addresses is refused, or None if it is allowed.

        One refused address is enough, because any of them may be used.
        """
        if _matches(target.host, self.denied_hosts):
            return _HOST_DENIED
        unwrapped = [unwrap_ipv4(address) for address in addresses]
        if any(_is_in(address, self.denied_networks) for address in unwrapped):
            return "This site denies connections to this host's network."
        if self._is_site_target(target):
            return None
        if unwrapped and all(_is_in(address, self.networks) for address in unwrapped):
            return None
        if self.hosts is not None and not _matches(target.host, self.hosts):
            return _HOST_NOT_ALLOWED
        if all(is_public(address) or _is_in(address, self.networks) for address in unwrapped):
            return None
        return _NETWORK_NOT_ALLOWED

    def _is_site_target(self, target: Target) -> bool:
        if target in self.site_targets:
            return True
        return target.host in self.data_hosts and (target.port or 0) >= _FIRST_DATA_PORT


def _matches(host: str, patterns: Iterable[str]) -> bool:
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
        for pattern in patterns
    )


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


@dataclass(frozen=True)
class Egress:
    """Where one transfer may connect to: nowhere, unless `permits` says otherwise.

    `proxy`, if given, is the HTTP proxy `http://host:port` that every connection must use. It
    resolves the names, so `permits_unresolved` says of a host and a port what is known without
    addresses. `sides` are the stricter rules of each side's own connections, by its name.
    """

    permits: ConnectionCheck = lambda _host, _port, _address: False
    proxy: str | None = None
    permits_unresolved: Callable[[str, int], bool] = lambda _host, _port: False
    sides: Mapping[str, Egress] = field(default_factory=dict)

    @classmethod
    def of_sides(cls, rules: Mapping[str, EgressRules], proxy: str | None) -> Egress:
        """Permit each side what its rules permit, and the transfer what any side may do."""
        sides = {
            side: cls(its_rules.permits, proxy, its_rules.permits_unresolved)
            for side, its_rules in rules.items()
        }
        return cls(
            lambda *to: any(it.permits(*to) for it in sides.values()),
            proxy,
            lambda *to: any(it.permits_unresolved(*to) for it in sides.values()),
            sides,
        )

    def of(self, side: str) -> Egress:
        """Where the connections of one side may go."""
        return self.sides.get(side, self)
