"""ASGI adapter, for servers such as hypercorn and uvicorn, with streams and cancellation.

Each request runs in a thread of its own, because a transfer waits for rclone; what it sends goes
through the server's event loop. Libraries that wrap a WSGI application as ASGI do not report a
disconnected client, so an unwanted copy would continue.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from efss_transfer.config.settings import SPARE_THREADS
from efss_transfer.model.errors import InvalidJson
from efss_transfer.model.result import State
from efss_transfer.service import http_messages, runner
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import Request, Response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# How long the client may accept no data. The server buffers and asks for more only when most of
# its buffer has been sent, so this is longer than the limit of the Flask adapter, which watches
# the connection itself.
_STALLED_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.5
# How much of an oversized body is read and discarded: see flask/app.py.
_MAX_DISCARDED_BYTES: Final = 64 << 20


class Application:
    """The service as an ASGI application; one instance serves a process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopping = threading.Event()
        # With spare threads a busy service responds with `busy` instead of queueing requests.
        self._threads = ThreadPoolExecutor(
            service.settings.concurrent_transfers + 4 * SPARE_THREADS, "request"
        )

    def stop(self) -> None:
        """End running transfers as `incomplete`, because the server is about to stop."""
        self._stopping.set()

    async def handle(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = _Exchange(scope, receive, send, self._stopping)
        loop = asyncio.get_running_loop()
        finished = loop.run_in_executor(self._threads, exchange.run, self._service)
        try:
            await asyncio.shield(finished)
        finally:
            # If the server cancels this coroutine, the thread notices and ends by itself.
            exchange.disconnected.set()
            if exchange.watcher is not None:
                exchange.watcher.cancel()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
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
    """One request and its response: `run` runs in a thread, the coroutines in the event loop."""

    def __init__(
        self, scope: Mapping[str, Any], receive: Receive, send: Send, stopping: threading.Event
    ) -> None:
        self.disconnected = threading.Event()
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
        response = service.answer(
            Request(
                method=self._scope["method"],
                path=self._scope["path"],
                header=lambda name: self._headers.get(name.lower()),
                content_type=http_messages.media_type(self._headers.get("content-type", "")),
                negotiate=partial(
                    http_messages.negotiate, self._headers.get("accept", ""), streams=True
                ),
                read_body=self._read_body,
                remote=client[0] if client else None,
                interrupted=self._interrupted,
            )
        )
        try:
            self._respond(response)
        except _Disconnected:
            self.disconnected.set()
        except Exception as error:  # noqa: BLE001 - the server would show it to the client
            self.disconnected.set()
            runner.log_internal_error(error)
        finally:
            response.close()

    def _read_body(self, max_bytes: int) -> bytes:
        try:
            body: bytes = self._await(self._receive_body(max_bytes))
        except _Disconnected:
            raise InvalidJson("The request body could not be read to its end.") from None
        return body

    def _respond(self, response: Response) -> None:
        headers = [
            (name.lower().encode(), value.encode()) for name, value in response.headers.items()
        ]
        body = response.body
        if isinstance(body, bytes):
            headers.append((b"content-length", str(len(body)).encode()))
            body = iter([b"" if self._scope["method"] == "HEAD" else body])
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        self._await(self._send(start))
        for chunk in body:
            message = {"type": "http.response.body", "body": chunk, "more_body": True}
            self._await(self._send(message))
        self._await(self._send({"type": "http.response.body", "body": b""}))

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        """Run a coroutine in the event loop and return its result.

        Raises _Disconnected if the client disconnects or accepts no data for too long.
        """

        async def awaited() -> Any:
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        for _ in range(int(_STALLED_SECONDS / _POLL_SECONDS)):
            if self.disconnected.is_set():
                break
            try:
                return future.result(_POLL_SECONDS)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
        future.cancel()
        raise _Disconnected

    def _interrupted(self) -> State | None:
        if self.disconnected.is_set():
            return State.CANCELLED
        return State.INCOMPLETE if self._stopping.is_set() else None

    async def _receive_body(self, max_bytes: int) -> bytes:
        body = b""
        size = 0
        more = True
        while more and size < max_bytes + _MAX_DISCARDED_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            size += len(message.get("body", b""))
            if size <= max_bytes:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        if size > max_bytes:
            raise http_messages.body_too_large(max_bytes)
        self.watcher = asyncio.ensure_future(self._watch_disconnect())
        return body

    async def _watch_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.disconnected.set()


class _Disconnected(Exception):
    """The client has disconnected or accepts no data."""
