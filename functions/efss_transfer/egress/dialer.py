"""From the name of a host to a connection, with a question in between: may this be?

A name is looked up once. Each of its addresses is asked about, and only an address that
was asked about is connected to: whatever the name means a moment later is of no account.
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

_AT_ONCE: Final = 64  # look-ups, and connects; all others wait
_LOOKUP_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 10.0
_ADDRESS_SECONDS: Final = 5.0
_PLAIN: Final = re.compile(r"[!-$&-~]+")
"""Names that are looked up: printable ASCII, and no % of an IPv6 zone, which would choose
one of this machine's interfaces.
"""
_REPLIES: Final = {
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Reply.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reply.HOST_UNREACHABLE,
    errno.ECONNREFUSED: Reply.CONNECTION_REFUSED,
}


class DialRefused(Rejected):
    """None of a host's addresses may be connected to."""

    def __init__(self) -> None:
        super().__init__(Reply.NOT_ALLOWED.encode())


class Dialer:
    """Connects to what is permitted. It belongs to one event loop.

    `in_loop` has the loop call something, from any thread, or does nothing if the loop is
    over. `report` is told of an error that nobody expects.

    Looking up a name cannot be interrupted, so it has a thread of its own: one that hangs
    is left behind, with nothing in its hands.
    """

    def __init__(
        self,
        permits: ConnectionCheck,
        in_loop: Callable[[Callable[[], None]], None],
        report: Callable[[BaseException], None],
    ) -> None:
        self._permits = permits
        self._in_loop = in_loop
        self._report = report
        self._asking: set[asyncio.Task[Sequence[Address] | Rejected]] = set()
        self._asked: dict[Destination, asyncio.Task[Sequence[Address] | Rejected]] = {}
        self._lookups = asyncio.Semaphore(_AT_ONCE)
        self._connects = asyncio.Semaphore(_AT_ONCE)

    @property
    def asking(self) -> Collection[asyncio.Task[Sequence[Address] | Rejected]]:
        """The look-ups that go on, for whoever ends the loop."""
        return self._asking

    async def dial(self, to: Destination) -> socket.socket:
        """A connection, which is not blocking. Raises Rejected, and NotAllowed."""
        if not _PLAIN.fullmatch(to.host):
            raise DialRefused
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                addresses = await self._addresses(to)
        except TimeoutError:
            # Whoever comes later is not to wait for what hangs.
            self._asked.pop(to, None)
            raise Rejected(Reply.HOST_UNREACHABLE.encode()) from None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS), self._connects:
                return await _connect(addresses, to.port)
        except OSError as error:
            reply = Reply.TIMED_OUT if isinstance(error, TimeoutError) else Reply.FAILED
            raise Rejected(_REPLIES.get(error.errno or 0, reply).encode()) from error

    async def _addresses(self, to: Destination) -> Sequence[Address]:
        """The addresses that may be connected to. Raises Rejected.

        A host that is an address needs no look-up. Who asks for the same name at the same time
        has the same answer: a copy opens dozens of connections at once, and a site's resolver
        is not to bear each of them.
        """
        if (literal := _literal(to.host)) is not None:
            answer = self._judged(lambda: self._permitted(to, (literal,)))
        else:
            asked = self._asked.get(to)
            if asked is None:
                asked = self._asked[to] = asyncio.create_task(self._look_up(to))
                self._asking.add(asked)
                asked.add_done_callback(self._asking.discard)
                asked.add_done_callback(lambda _: self._asked.pop(to, None))
            # One who waits no longer takes the answer from nobody else.
            answer = await asyncio.shield(asked)
        if isinstance(answer, Rejected):
            raise answer
        return answer

    async def _look_up(self, to: Destination) -> Sequence[Address] | Rejected:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[Address] | Rejected] = loop.create_future()

        def settle(answer: Sequence[Address] | Rejected) -> None:
            self._lookups.release()
            if not found.done():  # somebody still waits for it
                found.set_result(answer)

        def look_up() -> None:
            answer = self._judged(lambda: self._permitted(to, _resolved(to)))
            self._in_loop(lambda: settle(answer))

        await self._lookups.acquire()
        try:
            threading.Thread(target=look_up, name="egress-lookup", daemon=True).start()
        except RuntimeError:  # there can be no more threads
            self._lookups.release()
            raise
        return await found

    def _judged(self, permitted: Callable[[], Sequence[Address]]) -> Sequence[Address] | Rejected:
        try:
            return permitted()
        except Rejected as rejected:
            return rejected
        except Exception as error:  # noqa: BLE001 - what cannot be judged is not permitted
            self._report(error)
            return Rejected(Reply.FAILED.encode())

    def _permitted(self, to: Destination, found: Iterable[Address]) -> Sequence[Address]:
        """Those of a host's addresses that may be connected to, the likeliest first."""
        host = to.host.lower().removesuffix(".")
        permitted = [one for one in dict.fromkeys(found) if self._permits(host, to.port, one)]
        if not permitted:
            raise DialRefused
        return permitted


def _literal(host: str) -> Address | None:
    """The address that a host is, as it is usually written; what else may mean one is looked up."""
    try:
        return _unmapped(ip_address(host))
    except ValueError:
        return None


def _unmapped(address: Address) -> Address:
    """An address of IPv4 that is written as IPv6 is one of IPv4."""
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def _resolved(to: Destination) -> list[Address]:
    try:
        entries = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Rejected(Reply.HOST_UNREACHABLE.encode()) from None
    return [address for entry in entries if (address := _address(entry[4])) is not None]


def _address(found: tuple[Any, ...]) -> Address | None:
    """An address that a look-up gave; one of IPv6 with a zone is none."""
    address = ip_address(found[0])
    if not isinstance(address, IPv4Address) and found[3]:
        return None
    return _unmapped(address)


async def _connect(addresses: Sequence[Address], port: int) -> socket.socket:
    """A connection to the first address that takes it. Raises the first one's OSError."""
    loop = asyncio.get_running_loop()
    first: OSError | None = None
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
                first = first or error
    raise first or OSError
