"""The server's side of a SOCKS 5 handshake: CONNECT only (RFC 1928), with a password (RFC 1929).

This module does no I/O: proxy.py reads and writes the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_VERSION: Final = 5
_NO_AUTHENTICATION: Final = 0
_PASSWORD: Final = 2
_NO_ACCEPTABLE_METHOD: Final = 0xFF
_PASSWORD_VERSION: Final = 1
_PASSWORD_ACCEPTED: Final = bytes((_PASSWORD_VERSION, 0))
_PASSWORD_REFUSED: Final = bytes((_PASSWORD_VERSION, 1))
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Reply(IntEnum):
    """The server's replies to a request (RFC 1928, section 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TIMED_OUT = 6  # "TTL expired" in the RFC; every client reads it as a timeout
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8

    def encode(self) -> bytes:
        """The reply's bytes. The bound address is not disclosed: it is always 0.0.0.0:0."""
        return bytes((_VERSION, self, 0, _IPV4)) + bytes(6)


@dataclass(frozen=True)
class Destination:
    """The host and port that a client asks for. `host` is a name or an address, as sent.

    A name is decoded as Latin-1, so that any bytes can be checked.
    """

    host: str
    port: int


@dataclass(frozen=True)
class ConnectRequest:
    """A client's request. `user` is the name that it gave with its password."""

    user: str
    to: Destination


@dataclass(frozen=True)
class Login:
    """Decides which clients are served.

    `user` returns the name of the user with this name and password, or None. `stranger`
    returns the name of the user that a client without a password is, or None; it is called only
    for such a client, because it may be slow.
    """

    user: Callable[[bytes, bytes], str | None]
    stranger: Callable[[], str | None]


class Rejected(Exception):
    """The request is refused. The client gets `response`, if any, and is disconnected."""

    def __init__(self, response: bytes = b"") -> None:
        super().__init__("not a SOCKS request that this server accepts")
        self.response = response


class NotAdmitted(Rejected):
    """The client does not know the guard's secret."""


def handshake(login: Login) -> Generator[int | bytes, bytes, ConnectRequest]:
    """Run one client's handshake up to its request, which the caller must still reply to.

    Yields the number of bytes that it needs next, and is sent exactly these; or yields bytes
    for the client. So it never reads a byte of what the client sends afterwards, and no
    length from the client makes it ask for more than 255 bytes. Raises Rejected.
    """
    version, count = yield 2
    if version != _VERSION:
        raise Rejected
    user = yield from _authenticated((yield count), login)
    return ConnectRequest(user, (yield from _destination()))


def _authenticated(methods: bytes, login: Login) -> Generator[int | bytes, bytes, str]:
    """The user that the client is. Raises NotAdmitted, and Rejected."""
    if _PASSWORD in methods:
        yield bytes((_VERSION, _PASSWORD))
        version, length = yield 2
        if version != _PASSWORD_VERSION:
            raise Rejected
        name = yield length
        (length,) = yield 1
        user = login.user(name, (yield length))
        if user is None:
            raise NotAdmitted(_PASSWORD_REFUSED)
        yield _PASSWORD_ACCEPTED
        return user
    if _NO_AUTHENTICATION in methods and (user := login.stranger()) is not None:
        yield bytes((_VERSION, _NO_AUTHENTICATION))
        return user
    raise NotAdmitted(bytes((_VERSION, _NO_ACCEPTABLE_METHOD)))


def _destination() -> Generator[int | bytes, bytes, Destination]:
    """The destination of the request that follows. Raises Rejected."""
    version, command, reserved, address_type = yield 4
    if version != _VERSION or reserved != 0:
        raise Rejected(Reply.FAILED.encode())
    if address_type == _IPV4:
        host = str(IPv4Address((yield 4)))
    elif address_type == _IPV6:
        host = str(IPv6Address((yield 16)))
    elif address_type == _NAME:
        (length,) = yield 1
        host = (yield length).decode("latin-1")
    else:
        raise Rejected(Reply.ADDRESS_TYPE_NOT_SUPPORTED.encode())
    port = int.from_bytes((yield 2), "big")
    if command != _CONNECT:
        raise Rejected(Reply.COMMAND_NOT_SUPPORTED.encode())
    return Destination(host, port)
