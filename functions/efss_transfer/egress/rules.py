"""Which hosts and addresses this site lets a transfer reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from efss_transfer.egress.addresses import Permits, is_public
from efss_transfer.model.targets import Address, Network, Target, inner

_OTHERS_ONLY: Final = "This site allows other hosts only."


@dataclass(frozen=True)
class EgressRules:
    """What may be dialled. What is denied is denied, whatever allows it.

    `networks` may be reached whatever the host's name. `hosts`, if given, are the only
    other names that may be reached; their addresses must be public. `own` are hosts of
    storages that the site itself has configured.
    """

    hosts: tuple[str, ...] | None = None
    networks: tuple[Network, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    denied_networks: tuple[Network, ...] = ()
    own: frozenset[Target] = field(default=frozenset())

    def permits(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to one of a host's addresses may be made."""
        return self.refusal(Target(host, port), [address]) is None

    def refusal_by_name(self, target: Target) -> str | None:
        """Why a host may not be reached whatever its addresses are, or None.

        What is refused so need not be looked up, and should not: the question itself tells
        a name server something, and may take its time.
        """
        if _matches(target.host, self.denied_hosts):
            return "This site denies this host."
        if self._is_own(target) or self.hosts is None or self.networks:
            return None
        return None if _matches(target.host, self.hosts) else _OTHERS_ONLY

    def refusal(self, target: Target, addresses: Iterable[Address]) -> str | None:
        """Why a host with these addresses may not be reached, or None if it may.

        One address that may not be reached is enough: it is not known which will be used.
        """
        if _matches(target.host, self.denied_hosts):
            return "This site denies this host."
        meant = [inner(address) for address in addresses]
        if any(_within(address, self.denied_networks) for address in meant):
            return "This site denies the network of this host."
        if self._is_own(target):
            return None
        if meant and all(_within(address, self.networks) for address in meant):
            return None
        if self.hosts is not None and not _matches(target.host, self.hosts):
            return _OTHERS_ONLY
        if all(is_public(address) or _within(address, self.networks) for address in meant):
            return None
        return "The host is not in the public Internet, nor in a network that this site allows."

    def _is_own(self, target: Target) -> bool:
        return target in self.own or Target(target.host, None) in self.own


def _matches(host: str, patterns: Iterable[str]) -> bool:
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
        for pattern in patterns
    )


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


@dataclass(frozen=True)
class Egress:
    """Where a run may connect to. `proxy` is a proxy, http://host:port, that must be used."""

    permits: Permits = lambda _host, _port, _address: False
    proxy: str | None = None
