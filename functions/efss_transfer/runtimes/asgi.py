"""ASGI: the service for servers such as hypercorn and uvicorn, with streams and hang-ups.

A request is answered by a thread of its own, because a transfer waits for rclone; what it
sends goes through the server's loop. Libraries that put a WSGI application behind ASGI do not
tell it that its caller has gone, and a copy that nobody waits for would go on.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from efss_transfer.config.settings import SPARE_THREADS
from efss_transfer.model.errors import BodyTooLarge, InvalidJson
from efss_transfer.model.result import State
from efss_transfer.runtimes import buffered
from efss_transfer.service import runner
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import JSON, PROBLEM, STREAMS, Request, Response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# For so long nothing of what is sent may be taken. The server keeps what waits, and asks for
# more when most of it is gone: that takes longer than a look at the connection itself would.
_STALLED_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
# An oversized body is read on for a while: see app.py.
_MOST_DISCARDED: Final = 64 << 20


class Application:
    """The service as an ASGI application; one instance serves a process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopping = threading.Event()
        # Threads to spare, or a full service would let callers wait instead of saying so.
        self._threads = ThreadPoolExecutor(
            service.settings.concurrent_transfers + 4 * SPARE_THREADS, "request"
        )

    def stop(self) -> None:
        """Let transfers end early, with what they have: the server is about to stop."""
        self._stopping.set()

    async def handle(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request of HTTP."""
        exchange = _Exchange(scope, receive, send, self._stopping)
        loop = asyncio.get_running_loop()
        answered = loop.run_in_executor(self._threads, exchange.run, self._service)
        try:
            await asyncio.shield(answered)
        finally:
            # Also where the server gives the request up: the thread then ends by itself.
            exchange.gone.set()
            if exchange.watcher is not None:
                exchange.watcher.cancel()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """The application, for servers that start it themselves."""
        if scope["type"] == "http":
            await self.handle(scope, receive, send)
        while scope["type"] == "lifespan":
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                self.stop()
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


class _Exchange:
    """One request and its answer: `run` is the thread's, the coroutines are the loop's."""

    def __init__(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, stopping: threading.Event
    ) -> None:
        self.gone = threading.Event()
        self.watcher: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._stopping = stopping
        self._headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }

    def run(self, service: Service) -> None:
        client = self._scope.get("client")
        answer = service.answer(
            Request(
                method=self._scope["method"],
                path=self._scope["path"],
                header=lambda name: self._headers.get(name.lower()),
                kind=self._headers.get("content-type", "").partition(";")[0].strip().lower(),
                representation=self._representation,
                body=self._read,
                remote=client[0] if client else None,
                interrupted=self._interrupted,
            )
        )
        try:
            self._answer(answer)
        except _GivenUp:
            self.gone.set()
        except Exception as error:  # noqa: BLE001 - the server would show it to the caller
            self.gone.set()
            runner.log_defect(error)
        finally:
            answer.close()

    def _read(self, most: int) -> bytes:
        try:
            body: bytes = self._wait(self._body(most))
        except _GivenUp:
            raise InvalidJson("The body could not be read to its end.") from None
        return body

    def _answer(self, answer: Response) -> None:
        headers = [
            (name.lower().encode(), value.encode()) for name, value in answer.headers.items()
        ]
        body = answer.body
        if isinstance(body, bytes):
            headers.append((b"content-length", str(len(body)).encode()))
            body = iter([b"" if self._scope["method"] == "HEAD" else body])
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        self._wait(self._send(start))
        for piece in body:
            more = {"type": "http.response.body", "body": piece, "more_body": True}
            self._wait(self._send(more))
        self._wait(self._send({"type": "http.response.body", "body": b""}))

    def _wait(self, what: Awaitable[Any]) -> Any:
        """What a coroutine gives, run by the loop. Raises _GivenUp if nobody waits any longer."""

        async def awaited() -> Any:
            return await what

        future = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        for _ in range(int(_STALLED_SECONDS / _LOOK_SECONDS)):
            if self.gone.is_set():
                break
            try:
                return future.result(_LOOK_SECONDS)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
        future.cancel()
        raise _GivenUp

    def _representation(self) -> str:
        accept = self._headers.get("accept", "")
        for kind in (part.partition(";")[0].strip().lower() for part in accept.split(",")):
            if kind in STREAMS:
                return str(kind)
            if kind in (JSON, PROBLEM):
                return JSON
        return buffered.representation(accept)

    def _interrupted(self) -> State | None:
        if self.gone.is_set():
            return State.CANCELLED
        return State.INCOMPLETE if self._stopping.is_set() else None

    async def _body(self, most: int) -> bytes:
        body = b""
        size = 0
        more = True
        while more and size < most + _MOST_DISCARDED:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _GivenUp
            size += len(message.get("body", b""))
            if size <= most:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        if size > most:
            raise BodyTooLarge(f"A request may have {most} bytes here.")
        self.watcher = asyncio.ensure_future(self._watch())
        return body

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


class _GivenUp(Exception):
    """The exchange was given up: nobody takes what is sent."""
