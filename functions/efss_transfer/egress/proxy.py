"""The guard: a SOCKS 5 server that checks every connection of an engine.

A request's hosts are checked before an engine starts. But a storage may redirect, and a name
may have another address by the time it is used. So an engine connects only through this guard,
which checks each address before it connects to it. It relays the bytes unread: TLS is between
the engine and the storage, as it is without a guard.

A guard lives for one transfer, and serves that transfer's engine alone: see access.py. It listens
on loopback, in a thread that it may share with the guards of other transfers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar, cast

from efss_transfer.egress.access import Access
from efss_transfer.egress.addresses import ConnectionCheck
from efss_transfer.egress.dialer import Dialer, DialRefused
from efss_transfer.egress.event_loops import (
    LoopPool,
    LoopThread,
    log_unexpected,
    useful_loop_count,
)
from efss_transfer.egress.loop_work import LoopWork
from efss_transfer.egress.relay import BufferPool, relay
from efss_transfer.egress.socks5 import (
    ConnectRequest,
    Destination,
    Login,
    NotAdmitted,
    Rejected,
    Reply,
    handshake,
)

__all__ = ["ConnectionCheck", "Guard", "guard"]

ANYBODY: Final = "either"
"""The user whose connections may be of any side: the check `permits` applies to them."""

_LOG = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0
_MAX_REFUSED: Final = 100
_MAX_HOST_LENGTH: Final = 253
_ACCEPT_PAUSE_SECONDS: Final = 0.2
_Result = TypeVar("_Result")


@cache
def _loop_pool() -> LoopPool:
    return LoopPool(useful_loop_count())


@contextmanager
def guard(
    permits: ConnectionCheck, users: Mapping[str, ConnectionCheck] = MappingProxyType({})
) -> Iterator[Guard]:
    """Run a guard for the length of the block. Its connections are broken at the end.

    `users` has the checks of the connections that name a user; `permits` is that of ANYBODY.
    """
    with (
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener,
        BufferPool() as buffers,
        _loop_pool().acquire() as loop,
    ):
        listener.setblocking(False)
        running = Guard({ANYBODY: permits, **users}, listener, buffers, loop)
        loop.call_soon(running._listen)
        try:
            yield running
        finally:
            loop.run(running._close)


class LocalServer(Protocol):
    """A server in this process, whose methods are called in the guard's event loop."""

    async def attend(self, connection: socket.socket) -> None:
        """Serve a connection, which it owns, until it ends."""

    def begin_close(self) -> None:
        """Prepare for the end: all connections are about to be broken."""

    async def close(self) -> None:
        """End, after the last connection has ended."""


class Guard:
    """A SOCKS 5 server on 127.0.0.1 that connects only where its user's check allows.

    `access` decides which clients it serves.
    """

    def __init__(
        self,
        checks: Mapping[str, ConnectionCheck],
        listener: socket.socket,
        buffers: BufferPool,
        loop: LoopThread,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._buffers = buffers
        self.access: Final = Access(checks)
        self._dialers = {
            user: Dialer(check, loop.call_soon, log_unexpected) for user, check in checks.items()
        }
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refused: list[str] = []
        self._has_refused_client = False
        self._is_closed = False
        self._loop = loop
        self._reserved: dict[str, LocalServer] = {}
        self._attend: Callable[[socket.socket], Awaitable[None]] = self._serve_socks

    def reserve(self, host: str, server: LocalServer) -> None:
        """Hand connections to a name, which no DNS has, to a server in this process."""
        self._reserved[host] = server

    def hand_over(self, attend: Callable[[socket.socket], Awaitable[None]]) -> None:
        """Hand every connection to a server in this process from now on, in place of SOCKS."""
        self._attend = attend

    async def relay(self, one: socket.socket, other: socket.socket) -> None:
        """Relay bytes both ways, within the event loop. Raises OSError if a connection broke."""
        await relay(one, other, self._buffers)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Have the event loop call a function, from any thread."""
        self._loop.call_soon(callback)

    def start(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> LoopWork[_Result]:
        """Run a coroutine in the event loop, from any thread.

        The future is cancelled when the guard closes. It may stay pending if the loop has
        stopped.
        """
        done: LoopWork[_Result] = LoopWork(self._loop.call_soon)

        def begin() -> None:
            if self._is_closed:
                done.cancel()
                return
            task = done.begin(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon(begin)
        return done

    def login(self, user: str) -> str:
        """The user and the secret, as a URL has them before its host."""
        return f"{user}:{self.access.secret}"

    async def dial(self, host: str, port: int, user: str = ANYBODY) -> socket.socket:
        """Connect where the user's check allows, within the event loop. Raises Rejected."""
        return await self._dial(ConnectRequest(user, Destination(host, port)))

    def log_refused_client(self) -> None:
        """Log the first client that was refused because it does not know the secret."""
        if not self._has_refused_client:
            self._has_refused_client = True
            _LOG.warning("refused a local client of the egress guard that is not its engine")

    @property
    def refused(self) -> Sequence[str]:
        """The first hundred distinct `host:port` that were not permitted."""
        return tuple(self._refused)

    def _listen(self) -> None:
        if not self._is_closed:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def _close(self) -> None:
        self._is_closed = True
        asyncio.get_running_loop().remove_reader(self._listener)
        for server in self._reserved.values():
            server.begin_close()
        lookups = (task for dialer in self._dialers.values() for task in dialer.running_lookups)
        unfinished: set[asyncio.Task[Any]] = {*self._tasks, *lookups}
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)
        for server in self._reserved.values():
            await server.close()

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # The process has no descriptors left. The listener stays readable meanwhile, so
            # without a pause the loop would spin.
            log_unexpected(error)
            loop.remove_reader(self._listener)
            loop.call_later(_ACCEPT_PAUSE_SECONDS, self._listen)
            return
        client.setblocking(False)
        task = loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task itself: a task that is cancelled before its first step runs no code.
        task.add_done_callback(lambda _: client.close())

    async def _serve(self, client: socket.socket) -> None:
        """Serve one client. Its errors affect no other client."""
        try:
            _disable_nagle(client)
            await self._attend(client)
        except Rejected as rejected:
            if isinstance(rejected, NotAdmitted):
                self.log_refused_client()
            with suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(client, rejected.response)
        except OSError:
            pass  # one side broke, so the other is broken too; or the handshake timed out
        except Exception as error:  # noqa: BLE001 - other clients must not be affected
            log_unexpected(error)

    async def _serve_socks(self, client: socket.socket) -> None:
        """Raises Rejected, and OSError if one side broke or the handshake timed out."""
        request = await self._read_request(client)
        if (local := self._reserved.get(request.to.host)) is not None:
            await asyncio.get_running_loop().sock_sendall(client, Reply.SUCCEEDED.encode())
            await local.attend(client)
            return
        with await self._dial(request) as server:
            _disable_nagle(server)
            await asyncio.get_running_loop().sock_sendall(client, Reply.SUCCEEDED.encode())
            await relay(client, server, self._buffers)

    async def _read_request(self, client: socket.socket) -> ConnectRequest:
        """What a client asks for. Raises Rejected and TimeoutError."""
        steps = handshake(Login(self.access.user, lambda: self.access.stranger(client)))
        step = next(steps)
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            while True:
                received = b""
                if isinstance(step, bytes):
                    await asyncio.get_running_loop().sock_sendall(client, step)
                else:
                    received = await self._read_exactly(client, step)
                try:
                    step = steps.send(received)
                except StopIteration as end:
                    return cast(ConnectRequest, end.value)

    async def _read_exactly(self, client: socket.socket, count: int) -> bytes:
        received = b""
        while len(received) < count:
            chunk = await asyncio.get_running_loop().sock_recv(client, count - len(received))
            if not chunk:
                raise Rejected
            received += chunk
        return received

    async def _dial(self, request: ConnectRequest) -> socket.socket:
        to = request.to
        try:
            return await self._dialers[request.user].dial(to)
        except DialRefused:
            # Escaped, because it is logged, and a client can send any bytes.
            host = to.host.encode("unicode_escape").decode("ascii")[:_MAX_HOST_LENGTH]
            entry = f"[{host}]:{to.port}" if ":" in host else f"{host}:{to.port}"
            if entry not in self._refused and len(self._refused) < _MAX_REFUSED:
                self._refused.append(entry)
                _LOG.info("refused a connection to %s", entry)
            raise


def _disable_nagle(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
