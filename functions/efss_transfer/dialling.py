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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from efss_transfer.addresses import Address, Permits
from efss_transfer.socks import Destination, Rejected, Reply

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


class NotAllowed(Rejected):
    """None of a host's addresses may be connected to."""

    def __init__(self) -> None:
        super().__init__(Reply.NOT_ALLOWED.encode())


class Dialler:
    """Connects to what is permitted. It belongs to one event loop.

    `in_loop` has the loop call something, from any thread, or does nothing if the loop is
    over. `report` is told of an error that nobody expects.

    Looking up a name cannot be interrupted, so it has a thread of its own: one that hangs
    is left behind, with nothing in its hands.
    """

    def __init__(
        self,
        permits: Permits,
        in_loop: Callable[[Callable[[], None]], None],
        report: Callable[[BaseException], None],
    ) -> None:
        self._permits = permits
        self._in_loop = in_loop
        self._report = report
        self._lookups = asyncio.Semaphore(_AT_ONCE)
        self._connects = asyncio.Semaphore(_AT_ONCE)

    async def dial(self, to: Destination) -> socket.socket:
        """A connection, which is not blocking. Raises Rejected, and NotAllowed."""
        if not _PLAIN.fullmatch(to.host):
            raise NotAllowed
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                addresses = await self._look_up(to)
        except TimeoutError:
            raise Rejected(Reply.HOST_UNREACHABLE.encode()) from None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS), self._connects:
                return await _connect(addresses, to.port)
        except OSError as error:
            reply = Reply.TIMED_OUT if isinstance(error, TimeoutError) else Reply.FAILED
            raise Rejected(_REPLIES.get(error.errno or 0, reply).encode()) from error

    async def _look_up(self, to: Destination) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[Address]] = loop.create_future()

        def settle(addresses: Sequence[Address], why_none: Rejected | None) -> None:
            self._lookups.release()
            if found.done():
                return  # nobody waits for it any more
            if why_none is None:
                found.set_result(addresses)
            else:
                found.set_exception(why_none)

        def look_up() -> None:
            addresses: Sequence[Address] = ()
            why_none: Rejected | None = None
            try:
                addresses = self._permitted(to)
            except Rejected as rejected:
                why_none = rejected
            except Exception as error:  # noqa: BLE001 - what cannot be judged is not permitted
                self._report(error)
                why_none = Rejected(Reply.FAILED.encode())
            self._in_loop(lambda: settle(addresses, why_none))

        await self._lookups.acquire()
        try:
            threading.Thread(target=look_up, name="egress-lookup", daemon=True).start()
        except RuntimeError:  # there can be no more threads
            self._lookups.release()
            raise
        return await found

    def _permitted(self, to: Destination) -> Sequence[Address]:
        """The addresses of a host that may be connected to, the likeliest first."""
        try:
            entries = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Rejected(Reply.HOST_UNREACHABLE.encode()) from None
        host = to.host.lower().removesuffix(".")
        addresses = dict.fromkeys(_address(entry[4]) for entry in entries)
        permitted = [one for one in addresses if one and self._permits(host, to.port, one)]
        if not permitted:
            raise NotAllowed
        return permitted


def _address(found: tuple[Any, ...]) -> Address | None:
    """An address that a look-up gave. One of IPv4 that is written as IPv6 is one of IPv4; one
    with a zone is none.
    """
    address = ip_address(found[0])
    if isinstance(address, IPv4Address):
        return address
    return None if found[3] else address.ipv4_mapped or address


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
