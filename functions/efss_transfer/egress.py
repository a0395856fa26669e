"""The one way out for an engine's connections: a SOCKS 5 server that asks the policy.

What a request names is checked before an engine starts. But a storage may redirect, and a
name may have another address by the time it is used. So the engine is told to connect by
way of this guard, which asks about every address before it connects to it, and passes on
unread what is sent: TLS is between the engine and the storage, as without a guard.

It lives for as long as one transfer, on loopback, in one thread.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Final, cast

from efss_transfer.addresses import Permits
from efss_transfer.dialling import Dialler, NotAllowed
from efss_transfer.relay import Carriers, relay
from efss_transfer.socks import Destination, Rejected, Reply, conversation

__all__ = ["Guard", "Permits", "guard"]

_LOG = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0
_MOST_REFUSED: Final = 100
_LONGEST_HOST: Final = 253
_PAUSE_SECONDS: Final = 0.2


@contextmanager
def guard(permits: Permits) -> Iterator[Guard]:
    """A guard for the length of the block. After it all that went through it is broken off,
    and nothing goes out any more.
    """
    with (
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener,
        Carriers() as carriers,
        closing(asyncio.SelectorEventLoop()) as loop,
    ):
        listener.setblocking(False)
        made = Guard(permits, listener, carriers, loop)
        with made._running():
            yield made


class Guard:
    """A SOCKS 5 server on 127.0.0.1 that connects only to what is permitted."""

    def __init__(
        self,
        permits: Permits,
        listener: socket.socket,
        carriers: Carriers,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._carriers = carriers
        self._loop = loop
        self._dialler = Dialler(permits, self._in_loop, _report)
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: list[str] = []
        self._leave = asyncio.Event()
        self._lock = threading.Lock()
        self._left = False

    @property
    def refused(self) -> Sequence[str]:
        """The `host:port` of what was not permitted: each once, and the first hundred."""
        return tuple(self._refused)

    @contextmanager
    def _running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, name=f"egress-{self.port}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._in_loop(self._leave.set)
            thread.join()
            with self._lock:
                self._left = True

    def _in_loop(self, callback: Callable[[], None]) -> None:
        """Have the loop call something, from another thread; nothing once it is over."""
        with self._lock:
            if not self._left:
                self._loop.call_soon_threadsafe(callback)

    def _run(self) -> None:
        self._loop.set_exception_handler(
            lambda _, context: _report(context.get("exception", RuntimeError()))
        )
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing goes out then
            _report(error)
        finally:
            self._listener.close()

    async def _serve(self) -> None:
        self._listen()
        try:
            await self._leave.wait()
        finally:
            self._loop.remove_reader(self._listener)
            going_on = {*self._tasks, *self._dialler.asking}
            for task in going_on:
                task.cancel()
            if going_on:
                await asyncio.wait(going_on)

    def _listen(self) -> None:
        if not self._leave.is_set():
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # There are no descriptors left. Who waits is told again and again until then.
            _report(error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE_SECONDS, self._listen)
            return
        client.setblocking(False)
        task = self._loop.create_task(self._attend(client))
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
                await self._loop.sock_sendall(client, Reply.SUCCEEDED.encode())
                await relay(client, server, self._carriers)
        except Rejected as rejected:
            with suppress(OSError):
                await self._loop.sock_sendall(client, rejected.answer)
        except OSError:
            pass  # one side broke, and so does the other; or a client took too long to ask
        except Exception as error:  # noqa: BLE001 - see above
            _report(error)

    async def _request(self, client: socket.socket) -> Destination:
        """Where a client wants to go. Raises Rejected, and TimeoutError."""
        talk = conversation()
        step = next(talk)
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            while True:
                heard = b""
                if isinstance(step, bytes):
                    await self._loop.sock_sendall(client, step)
                else:
                    heard = await self._hear(client, step)
                try:
                    step = talk.send(heard)
                except StopIteration as end:
                    return cast(Destination, end.value)

    async def _hear(self, client: socket.socket, count: int) -> bytes:
        heard = b""
        while len(heard) < count:
            piece = await self._loop.sock_recv(client, count - len(heard))
            if not piece:
                raise Rejected
            heard += piece
        return heard

    async def _dialled(self, to: Destination) -> socket.socket:
        try:
            return await self._dialler.dial(to)
        except NotAllowed:
            # Escaped: it goes into a log, and a client writes what it likes.
            host = to.host.encode("unicode_escape").decode("ascii")[:_LONGEST_HOST]
            entry = f"[{host}]:{to.port}" if ":" in host else f"{host}:{to.port}"
            if entry not in self._refused and len(self._refused) < _MOST_REFUSED:
                self._refused.append(entry)
                _LOG.info("refused a connection to %s", entry)
            raise


def _send_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _report(error: BaseException) -> None:
    _LOG.warning("an error in the guard: %s", type(error).__name__)
