"""The one way out for an engine's connections: a SOCKS 5 server that asks the policy.

What a request names is checked before an engine starts. But a storage may redirect, and a
name may have another address by the time it is used. So the engine is told to connect by
way of this guard, which asks about every address before it connects to it, and passes on
unread what is sent: TLS is between the engine and the storage, as without a guard.

It lives for as long as one transfer, on loopback, in a thread that it may share with the
guards of other transfers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final, cast

from efss_transfer.egress.addresses import ConnectionCheck
from efss_transfer.egress.dialer import Dialer, DialRefused
from efss_transfer.egress.event_loops import Loop, Loops, as_many_as_are_of_use, report
from efss_transfer.egress.relay import Carriers, relay
from efss_transfer.egress.socks5 import Destination, Rejected, Reply, conversation

__all__ = ["ConnectionCheck", "Guard", "guard"]

_LOG = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0
_MOST_REFUSED: Final = 100
_LONGEST_HOST: Final = 253
_PAUSE_SECONDS: Final = 0.2


@cache
def _loops() -> Loops:
    return Loops(as_many_as_are_of_use())


@contextmanager
def guard(permits: ConnectionCheck) -> Iterator[Guard]:
    """A guard for the length of the block. After it all that went through it is broken off,
    and nothing goes out any more.
    """
    with (
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener,
        Carriers() as carriers,
        _loops().one() as loop,
    ):
        listener.setblocking(False)
        made = Guard(permits, listener, carriers, loop)
        loop.soon(made._listen)
        try:
            yield made
        finally:
            loop.do(made._leave)


class Guard:
    """A SOCKS 5 server on 127.0.0.1 that connects only to what is permitted."""

    def __init__(
        self, permits: ConnectionCheck, listener: socket.socket, carriers: Carriers, loop: Loop
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._carriers = carriers
        self._dialler = Dialer(permits, loop.soon, report)
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: list[str] = []
        self._left = False

    @property
    def refused(self) -> Sequence[str]:
        """The `host:port` of what was not permitted: each once, and the first hundred."""
        return tuple(self._refused)

    def _listen(self) -> None:
        if not self._left:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def _leave(self) -> None:
        self._left = True
        asyncio.get_running_loop().remove_reader(self._listener)
        going_on = {*self._tasks, *self._dialler.asking}
        for task in going_on:
            task.cancel()
        if going_on:
            await asyncio.wait(going_on)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # There are no descriptors left. Who waits is told again and again until then.
            report(error)
            loop.remove_reader(self._listener)
            loop.call_later(_PAUSE_SECONDS, self._listen)
            return
        client.setblocking(False)
        task = loop.create_task(self._attend(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task itself: one that is cancelled before its first step would not.
        task.add_done_callback(lambda _: client.close())

    async def _attend(self, client: socket.socket) -> None:
        """One client, from its first byte to the end; no other suffers from its errors."""
        try:
            _send_at_once(client)
            to = await self._request(client)
            with await self._dialled(to) as server:
                _send_at_once(server)
                await asyncio.get_running_loop().sock_sendall(client, Reply.SUCCEEDED.encode())
                await relay(client, server, self._carriers)
        except Rejected as rejected:
            with suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(client, rejected.answer)
        except OSError:
            pass  # one side broke, and so does the other; or a client took too long to ask
        except Exception as error:  # noqa: BLE001 - see above
            report(error)

    async def _request(self, client: socket.socket) -> Destination:
        """Where a client wants to go. Raises Rejected, and TimeoutError."""
        talk = conversation()
        step = next(talk)
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            while True:
                heard = b""
                if isinstance(step, bytes):
                    await asyncio.get_running_loop().sock_sendall(client, step)
                else:
                    heard = await self._hear(client, step)
                try:
                    step = talk.send(heard)
                except StopIteration as end:
                    return cast(Destination, end.value)

    async def _hear(self, client: socket.socket, count: int) -> bytes:
        heard = b""
        while len(heard) < count:
            piece = await asyncio.get_running_loop().sock_recv(client, count - len(heard))
            if not piece:
                raise Rejected
            heard += piece
        return heard

    async def _dialled(self, to: Destination) -> socket.socket:
        try:
            return await self._dialler.dial(to)
        except DialRefused:
            # Escaped: it goes into a log, and a client writes what it likes.
            host = to.host.encode("unicode_escape").decode("ascii")[:_LONGEST_HOST]
            entry = f"[{host}]:{to.port}" if ":" in host else f"{host}:{to.port}"
            if entry not in self._refused and len(self._refused) < _MOST_REFUSED:
                self._refused.append(entry)
                _LOG.info("refused a connection to %s", entry)
            raise


def _send_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
