"""Connects to a host after checking each of its addresses.

A name is resolved once. Each address is checked, and only an address that was checked is
connected to, so it does not matter what the name resolves to a moment later.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from efss_transfer.egress.addresses import ConnectionCheck
from efss_transfer.egress.socks5 import Destination, Rejected, Reply
from efss_transfer.model.targets import Address

_MAX_CONCURRENT: Final = 64  # lookups, and connection attempts; more of them wait
_LOOKUP_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 10.0
_ADDRESS_SECONDS: Final = 5.0
_ACCEPTED_HOST: Final = re.compile(r"[!-$&-~]+")
"""Hosts that are accepted: printable ASCII without %, because the zone of an IPv6 address
would choose one of this machine's interfaces.
"""
_REPLIES: Final = {
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Reply.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reply.HOST_UNREACHABLE,
    errno.ECONNREFUSED: Reply.CONNECTION_REFUSED,
}

_Lookup = asyncio.Task[Sequence[Address] | Rejected]


class DialRefused(Rejected):
    """None of the host's addresses may be connected to."""

    def __init__(self) -> None:
        super().__init__(Reply.NOT_ALLOWED.encode())


class Dialer:
    """Connects to permitted addresses. It belongs to one event loop.

    A lookup cannot be interrupted, so each runs in a thread of its own. A lookup that hangs
    is abandoned; its thread holds no connection.
    """

    def __init__(
        self,
        permits: ConnectionCheck,
        call_in_loop: Callable[[Callable[[], None]], None],
        report: Callable[[BaseException], None],
    ) -> None:
        """Create a dialer.

        `call_in_loop` has the event loop call a function, from any thread, and does nothing
        once the loop has stopped. `report` receives unexpected errors.
        """
        self._permits = permits
        self._call_in_loop = call_in_loop
        self._report = report
        self._running: set[_Lookup] = set()
        self._shared: dict[Destination, _Lookup] = {}
        self._lookup_slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._connect_slots = asyncio.Semaphore(_MAX_CONCURRENT)

    @property
    def running_lookups(self) -> Collection[_Lookup]:
        """The lookups that are running; cancel them before the loop stops."""
        return self._running

    async def dial(self, to: Destination) -> socket.socket:
        """Connect, and return a non-blocking socket. Raises Rejected and DialRefused."""
        if not _ACCEPTED_HOST.fullmatch(to.host):
            raise DialRefused
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                addresses = await self._permitted_addresses(to)
        except TimeoutError:
            # Later clients must not wait for the lookup that hangs.
            self._shared.pop(to, None)
            raise Rejected(Reply.HOST_UNREACHABLE.encode()) from None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS), self._connect_slots:
                return await _connect(addresses, to.port)
        except OSError as error:
            reply = Reply.TIMED_OUT if isinstance(error, TimeoutError) else Reply.FAILED
            raise Rejected(_REPLIES.get(error.errno or 0, reply).encode()) from error

    async def _permitted_addresses(self, to: Destination) -> Sequence[Address]:
        """The addresses that may be connected to. Raises Rejected.

        A host that is an address needs no lookup. Simultaneous requests for the same name
        share one lookup, because a copy opens dozens of connections at once, and the site's
        resolver should not see each of them. The result is not kept.
        """
        if (address := _parse_address(to.host)) is not None:
            outcome = self._outcome(lambda: self._check(to, (address,)))
        else:
            lookup = self._shared.get(to)
            if lookup is None:
                lookup = self._shared[to] = asyncio.create_task(self._look_up(to))
                self._running.add(lookup)
                lookup.add_done_callback(self._running.discard)
                lookup.add_done_callback(lambda _: self._shared.pop(to, None))
            # A client that gives up must not cancel the lookup for the others.
            outcome = await asyncio.shield(lookup)
        if isinstance(outcome, Rejected):
            raise outcome
        return outcome

    async def _look_up(self, to: Destination) -> Sequence[Address] | Rejected:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Sequence[Address] | Rejected] = loop.create_future()

        def finish(outcome: Sequence[Address] | Rejected) -> None:
            self._lookup_slots.release()
            if not result.done():  # otherwise it was cancelled
                result.set_result(outcome)

        def run() -> None:
            outcome = self._outcome(lambda: self._check(to, _resolve(to)))
            self._call_in_loop(lambda: finish(outcome))

        await self._lookup_slots.acquire()
        try:
            threading.Thread(target=run, name="egress-lookup", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self._lookup_slots.release()
            raise
        return await result

    def _outcome(self, check: Callable[[], Sequence[Address]]) -> Sequence[Address] | Rejected:
        try:
            return check()
        except Rejected as rejected:
            return rejected
        except Exception as error:  # noqa: BLE001 - a failed check permits nothing
            self._report(error)
            return Rejected(Reply.FAILED.encode())

    def _check(self, to: Destination, found: Iterable[Address]) -> Sequence[Address]:
        """Those of a host's addresses that may be connected to, in the resolver's order."""
        host = to.host.lower().removesuffix(".")
        permitted = [one for one in dict.fromkeys(found) if self._permits(host, to.port, one)]
        if not permitted:
            raise DialRefused
        return permitted


def _parse_address(host: str) -> Address | None:
    """The host as an address in its usual form. Other spellings of one are resolved."""
    try:
        return _unwrap_mapped(ip_address(host))
    except ValueError:
        return None


def _unwrap_mapped(address: Address) -> Address:
    """The IPv4 address of an IPv4-mapped IPv6 address, or else the address itself."""
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def _resolve(to: Destination) -> list[Address]:
    try:
        entries = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Rejected(Reply.HOST_UNREACHABLE.encode()) from None
    return [address for entry in entries if (address := _resolved_address(entry[4])) is not None]


def _resolved_address(found: tuple[Any, ...]) -> Address | None:
    """An address from the resolver; None for an IPv6 address with a zone."""
    address = ip_address(found[0])
    if not isinstance(address, IPv4Address) and found[3]:
        return None
    return _unwrap_mapped(address)


async def _connect(addresses: Sequence[Address], port: int) -> socket.socket:
    """Connect to the first address that accepts. Raises the first address's OSError."""
    loop = asyncio.get_running_loop()
    first_error: OSError | None = None
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with ExitStack() as undo:
            try:
                connection = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
                connection.setblocking(False)
                async with asyncio.timeout(_ADDRESS_SECONDS):
                    await loop.sock_connect(connection, (str(address), port))
                undo.pop_all()
                return connection
            except OSError as error:
                first_error = first_error or error
    raise first_error or OSError
