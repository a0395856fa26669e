"""The server's part of a SOCKS 5 conversation (RFC 1928): CONNECT only, no authentication.

Only bytes in and bytes out; who reads and writes them is `egress`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_VERSION: Final = 5
_NO_AUTHENTICATION: Final = 0
_NO_ACCEPTABLE_METHOD: Final = 0xFF
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Reply(IntEnum):
    """What the server says to a request (RFC 1928, section 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TIMED_OUT = 6  # "TTL expired" there; every client takes it for a timeout
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8

    def encode(self) -> bytes:
        """As it is sent; the address it was connected from is the client's to guess."""
        return bytes((_VERSION, self, 0, _IPV4)) + bytes(6)


@dataclass(frozen=True)
class Destination:
    """Where a client wants to go: a name or a literal address, as it wrote it, and a port.

    A name is Latin-1 here, so that whatever bytes it has can be judged.
    """

    host: str
    port: int


class Rejected(Exception):
    """The client does not speak as it must; it gets `answer`, if any, and is closed."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__("not the SOCKS that is spoken here")
        self.answer = answer


def conversation() -> Generator[int | bytes, bytes, Destination]:
    """One client's handshake, up to its request, which is still to be replied to.

    Yields how many bytes it needs next, and is sent exactly these; or yields bytes for the
    client. So no byte of what the client sends afterwards is ever read here, and none of
    its lengths asks for more than 255. Raises Rejected.
    """
    version, count = yield 2
    if version != _VERSION:
        raise Rejected
    methods = yield count
    if _NO_AUTHENTICATION not in methods:
        raise Rejected(bytes((_VERSION, _NO_ACCEPTABLE_METHOD)))
    yield bytes((_VERSION, _NO_AUTHENTICATION))
    version, command, reserved, kind = yield 4
    if version != _VERSION or reserved != 0:
        raise Rejected(Reply.FAILED.encode())
    if kind == _IPV4:
        host = str(IPv4Address((yield 4)))
    elif kind == _IPV6:
        host = str(IPv6Address((yield 16)))
    elif kind == _NAME:
        (length,) = yield 1
        host = (yield length).decode("latin-1")
    else:
        raise Rejected(Reply.ADDRESS_TYPE_NOT_SUPPORTED.encode())
    port = int.from_bytes((yield 2), "big")
    if command != _CONNECT:
        raise Rejected(Reply.COMMAND_NOT_SUPPORTED.encode())
    return Destination(host, port)
