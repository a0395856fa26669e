"""A line to a server, which is cut or falls silent at a moment of an HTTP exchange.

    with cut_line.to(storage.parameters["url"]) as line:
        line.plan("PUT", "*/f.bin", Moment.BODY, line.cut, after=200_000)
        function.copy(source, storage.endpoint("to", url=line.url))
        line.heal()

It stands between a client and any server, real ones too, and passes bytes on as they are. The
event of a plan happens once, in the middle of the request that the plan names.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from support.held_port import held_port

_RESET: Final = struct.pack("ii", 1, 0)
_PIECE: Final = 1 << 14
_TLS: Final = b"\x16"


class Moment(Enum):
    """Moment of an exchange.

    `CONNECT`: a connection was accepted. `HANDSHAKE`: the client began TLS; no later moment is
    found on such a connection. `HEAD`: before the server gets anything of the request. `BODY`:
    once it got so many bytes of the body. `SENT`: once it has answered, and the client does not
    know. `ANSWER`: once the client got so many bytes of the answer.
    """

    CONNECT = "connect"
    HANDSHAKE = "handshake"
    HEAD = "head"
    BODY = "body"
    SENT = "sent"
    ANSWER = "answer"


@dataclass
class _Plan:
    method: str
    path: str
    moment: Moment
    event: Callable[[], None]
    after: int
    is_over: bool = False


@dataclass(eq=False)
class _Exchange:
    """A request on one connection, as far as it has come."""

    method: str = ""
    path: str = ""
    answered: int = 0
    sent: int = 0


@dataclass(eq=False)
class Line:
    """The line. `url` is what the client is given."""

    target: tuple[str, int]
    port: int
    url: str = ""
    happened: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._plans: list[_Plan] = []
        self._sockets: set[socket.socket] = set()
        self._guard = threading.RLock()
        self._flows = threading.Event()
        self._flows.set()
        self._listener: socket.socket | None = None
        self._timers: list[threading.Timer] = []
        self._serving: set[threading.Thread] = set()

    def plan(
        self,
        method: str,
        path: str,
        moment: Moment,
        event: Callable[[], None],
        *,
        after: int = 0,
    ) -> None:
        """Let an event happen to the first request of a method for a path (a pattern)."""
        self._plans.append(_Plan(method, path, moment, event, after))

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        with self._guard:
            if self._listener is not None:
                # Wakes the thread that accepts, which `close` alone does not.
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        with self._guard:
            for one in self._sockets:
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    one.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def silence(self) -> None:
        """Pass nothing on any more; new connections are accepted by the kernel alone."""
        self._flows.clear()

    def cut_for(self, seconds: float) -> None:
        """Cut the line, and heal it so many seconds later."""
        self.cut()
        timer = threading.Timer(seconds, self.heal)
        self._timers.append(timer)
        timer.start()

    def heal(self) -> None:
        """Pass everything on again. Connections that were cut stay so."""
        self._flows.set()
        with self._guard:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
                threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def wait_idle(self, seconds: float = 30) -> None:
        """Wait until every connection has ended, also those of clients that left long ago.

        What they sent before they left reaches the server only once the line has healed.
        """
        limit = time.monotonic() + seconds
        with self._guard:
            serving = set(self._serving)
        for thread in serving:
            thread.join(max(0.0, limit - time.monotonic()))
            assert not thread.is_alive(), "a connection did not end"

    def end(self) -> None:
        """Cut the line for good."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._plans.clear()
        self.cut()
        self._flows.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=[client], daemon=True)
            with self._guard:
                self._serving = {one for one in self._serving if one.is_alive()} | {thread}
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        exchange = _Exchange()
        with client:
            with self._guard:
                self._sockets.add(client)
            self._reach(exchange, Moment.CONNECT, 0)
            self._flows.wait()
            try:
                server = socket.create_connection(self.target)
            except OSError:
                return
            with server:
                with self._guard:
                    self._sockets.add(server)
                back = threading.Thread(
                    target=self._answers, args=[server, client, exchange], daemon=True
                )
                back.start()
                with suppress(OSError):
                    self._requests(client, server, exchange)
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                # The server closes its side once it is done with what it got.
                with suppress(OSError):
                    server.shutdown(socket.SHUT_WR)
                back.join()
                with self._guard:
                    self._sockets -= {client, server}

    def _requests(self, client: socket.socket, server: socket.socket, exchange: _Exchange) -> None:
        """Pass requests on, and find where each of them begins."""
        ahead = b""
        if client.recv(1, socket.MSG_PEEK) == _TLS:
            self._reach(exchange, Moment.HANDSHAKE, 0)
            while data := client.recv(_PIECE):
                self._pass(server, data)
            return
        while True:
            while b"\r\n\r\n" not in ahead:
                data = client.recv(_PIECE)
                if not data:
                    return
                ahead += data
            head, _, ahead = ahead.partition(b"\r\n\r\n")
            exchange.method, target = head.decode("latin-1").split(" ", 2)[:2]
            exchange.path = unquote(urlsplit(target).path)
            exchange.sent = exchange.answered = 0
            self._reach(exchange, Moment.HEAD, 0)
            self._pass(server, head + b"\r\n\r\n")
            names = dict(
                line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
            )
            left = int(names.get(b"content-length", b"0"))
            chunked = names.get(b"transfer-encoding") == b"chunked"
            tail = b""
            while left or chunked:
                data = ahead or client.recv(_PIECE)
                if not data:
                    return
                data, ahead = (data, b"") if chunked else (data[:left], data[left:])
                left -= 0 if chunked else len(data)
                self._pass(server, data)
                exchange.sent += len(data)
                self._reach(exchange, Moment.BODY, exchange.sent)
                tail = (tail + data)[-5:]
                chunked = chunked and tail != b"0\r\n\r\n"

    def _answers(self, server: socket.socket, client: socket.socket, exchange: _Exchange) -> None:
        with suppress(OSError):
            while data := server.recv(_PIECE):
                is_interim = not exchange.answered and data.startswith(b"HTTP/1.1 100")
                if is_interim:
                    self._pass(client, data)
                    continue
                self._reach(exchange, Moment.SENT, 0)
                if (mark := self._mark(exchange, len(data))) is not None:
                    self._pass(client, data[:mark])
                    data = data[mark:]
                    exchange.answered += mark
                    self._reach(exchange, Moment.ANSWER, exchange.answered)
                exchange.answered += len(data)
                self._pass(client, data)
        # The end of an answer that lasts until the connection ends.
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)

    def _pass(self, to: socket.socket, data: bytes) -> None:
        self._flows.wait()
        to.sendall(data)

    def _mark(self, exchange: _Exchange, count: int) -> int | None:
        """How many of the next bytes of an answer come before the event of a plan."""
        for plan in self._plans:
            if plan.moment is Moment.ANSWER and self._fits(plan, exchange):
                left = plan.after - exchange.answered
                if 0 <= left < count:
                    return left
        return None

    def _fits(self, plan: _Plan, exchange: _Exchange) -> bool:
        return (
            not plan.is_over
            and plan.method in ("*", exchange.method)
            and fnmatchcase(exchange.path, plan.path)
        )

    def _reach(self, exchange: _Exchange, moment: Moment, count: int) -> None:
        with self._guard:
            for plan in self._plans:
                is_there = plan.moment is moment and count >= plan.after
                if is_there and self._fits(plan, exchange):
                    plan.is_over = True
                    plan.event()
                    if plan.event != self.reset:
                        self.happened.set()


@contextmanager
def to(url: str) -> Iterator[Line]:
    """A line to the server of a URL, for the length of the block."""
    parts = urlsplit(url)
    with held_port() as port:
        line = Line((parts.hostname or "", parts.port or 80), port)
        line.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}"))
        line.heal()
        try:
            yield line
        finally:
            line.end()
