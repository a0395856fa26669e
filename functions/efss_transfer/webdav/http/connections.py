"""Open permitted connections to servers, limit their number and keep them for reuse."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal
from urllib.parse import urlsplit

from efss_transfer.model.targets import canonical_host
from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.streams import ByteStream

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""Function that connects to a host and a port, or raises NoAnswer."""

_PORTS: Final = {"http": 80, "https": 443}
_HANDSHAKE_SECONDS: Final = 20.0
# Idle connections with large TLS buffers, of up to 1 MiB each.
_MOST_WIDE: Final = 8

Cause = Literal["denied", "unresolved", "refused", "timeout", "tls", "proxy", "broken", "protocol"]


class NoAnswer(ConnectionError):
    """Failure to get an answer from a server.

    The message says where and why, and contains no secret.
    """

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause: Cause = cause


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Parse the origin of an HTTP URL. Raises ValueError for any other, or one with a user."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
            raise ValueError("not an HTTP URL: use http:// or https://, without a user")
        host = canonical_host(parts.hostname)
        return cls(parts.scheme, host, parts.port or _PORTS[parts.scheme])

    @cached_property
    def authority(self) -> str:
        """Value for a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Connections:
    """Connection pool of one gateway, bound to one event loop.

    `proxy` is an HTTP proxy that all connections must use, `most` the limit for one server at a
    time.
    """

    def __init__(
        self,
        dial: Dial,
        *,
        proxy: Origin | None = None,
        tls: ssl.SSLContext | None = None,
        most: int = 64,
    ) -> None:
        self.proxy = proxy
        self._dial = dial
        self._tls = tls
        self._most = most
        self._pools: dict[Origin, _Pool] = {}
        self._closed = False

    async def acquire(self, origin: Origin, *, fresh: bool = False, beside: bool = False) -> Lease:
        """Lease a connection for one exchange, until `release`. Raises NoAnswer.

        `fresh` excludes connections that were used before; `beside` bypasses the limit.
        """
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool(asyncio.Semaphore(self._most))
        slots = None if beside else pool.slots
        if slots is not None:
            await slots.acquire()
        try:
            if not fresh and (stream := pool.take()) is not None:
                return Lease(stream, is_new=False, pool=pool, slots=slots)
            return Lease(await self._connected(origin), is_new=True, pool=pool, slots=slots)
        except BaseException:
            if slots is not None:
                slots.release()
            raise

    def release(self, lease: Lease, *, reusable: bool) -> None:
        """End a lease: keep the connection if it is reusable, otherwise close it."""
        if reusable and not self._closed and self._has_room_for(lease.stream):
            lease.pool.idle.append(lease.stream)
        else:
            lease.stream.close()
        if lease.slots is not None:
            lease.slots.release()

    def limit(self, most: int) -> None:
        """Lower the limit for one server at a time. Connections that are in use stay beside it."""
        self._most = most = min(most, self._most)
        for pool in self._pools.values():
            pool.slots = asyncio.Semaphore(most)

    def close(self) -> None:
        """Close idle connections and keep none from now on."""
        self._closed = True
        for pool in self._pools.values():
            while pool.idle:
                pool.idle.pop().close()

    def _has_room_for(self, stream: ByteStream) -> bool:
        if not stream.is_wide:
            return True
        wide = sum(one.is_wide for pool in self._pools.values() for one in pool.idle)
        return wide < _MOST_WIDE

    async def _connected(self, origin: Origin) -> ByteStream:
        to = self.proxy or origin
        stream = ByteStream(await self._dial(to.host, to.port))
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                if origin.scheme == "https":
                    if self.proxy is not None:
                        await _tunnel(stream, origin)
                    await stream.start_tls(self._context(), origin.host)
        except ssl.SSLCertVerificationError as error:
            stream.close()
            reason = f"the TLS certificate was rejected: {error.verify_message}"
            raise NoAnswer("tls", f"{origin.authority}: {reason}") from error
        except ssl.SSLError as error:
            stream.close()
            raise NoAnswer(
                "tls", f"{origin.authority} does not speak TLS (tls: handshake failed)"
            ) from error
        except (OSError, messages.BadMessage) as error:
            stream.close()
            if isinstance(error, NoAnswer):
                raise
            if isinstance(error, TimeoutError):
                raise NoAnswer("timeout", f"{origin.authority} timed out (i/o timeout)") from error
            raise NoAnswer(
                "broken", f"{origin.authority}: connection reset during the handshake"
            ) from error
        except BaseException:
            stream.close()
            raise
        return stream

    def _context(self) -> ssl.SSLContext:
        # OpenSSL's default locations, which SSL_CERT_FILE and SSL_CERT_DIR override.
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


@dataclass(slots=True)
class _Pool:
    """Connections to one server: those that are idle, and a slot for each that may be in use."""

    slots: asyncio.Semaphore
    idle: list[ByteStream] = field(default_factory=list)

    def take(self) -> ByteStream | None:
        while self.idle:
            stream = self.idle.pop()
            if stream.is_idle:
                return stream
            stream.close()
        return None


@dataclass(slots=True)
class Lease:
    """Connection in use by an exchange."""

    stream: ByteStream
    is_new: bool
    pool: _Pool
    slots: asyncio.Semaphore | None


async def _tunnel(stream: ByteStream, origin: Origin) -> None:
    to = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{to}:{origin.port}"
    await stream.write(messages.request_head("CONNECT", target, {"Host": target}))
    head = await messages.read_response(stream)
    if not 200 <= head.status < 300:
        raise NoAnswer("proxy", f"the site's proxy answered {head.status} for {target}")
