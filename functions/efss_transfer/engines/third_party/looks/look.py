"""One look at a WebDAV storage: its connection, its time, and the clean-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

from efss_transfer.config.settings import Settings
from efss_transfer.egress.proxy import Guard, guard
from efss_transfer.engines.base import Context
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.engines.third_party.ends import End
from efss_transfer.model.errors import CODES
from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import Failure, Side, State
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.session import Failed, Refused

_POLL_SECONDS: Final = 0.25
_STOP_SECONDS: Final = 1.0
_CLEANUP_SECONDS: Final = 1.8
_LONGEST_WAIT: Final = 15.0
_TIMED_OUT: Final = "The storage did not answer in time."
_Found = TypeVar("_Found")


class Look:
    """A look. Within `connected`, `run` asks the storage; `end` is the storage as a source."""

    def __init__(self, settings: Settings, endpoint: Endpoint, context: Context) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._context = context
        self.redactor = Redactor(endpoint.secrets)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Prepare the connection, and close it afterwards. Nothing is sent yet."""
        began = time.monotonic()
        with ExitStack() as stack:
            egress = self._context.egress
            users = {Side.SOURCE.value: egress.of(Side.SOURCE.value).permits}
            self._guard: Guard = stack.enter_context(guard(egress.permits, users))
            self._closing = stack
            self.end = self.end_as(Side.SOURCE)
            self._context.observer.booted(time.monotonic() - began)
            yield

    def end_as(self, side: Side) -> End:
        """The storage as that side of a copy; it may be reached by the same rules as a source."""
        route = SideRoute(
            self._guard, Side.SOURCE.value, self._context.egress.of(Side.SOURCE.value), None
        )
        stall_seconds = self._settings.rclone.stall_seconds
        end = End(
            side,
            self._endpoint,
            route,
            self.redactor,
            stall_seconds=stall_seconds,
            patience=min(stall_seconds / 2, _LONGEST_WAIT),
        )
        self._closing.callback(self._guard.call_soon, end.connections.close)
        return end

    def run(
        self, work: Callable[[], Coroutine[Any, Any, _Found]], seconds: float | None = None
    ) -> tuple[_Found | None, Failure | None]:
        """Await work until the deadline, or for so many seconds. Returns what it found, or why it
        failed, without a side.
        """

        async def bounded() -> _Found:
            async with asyncio.timeout(seconds):
                return await work()

        future = self._guard.start(bounded)
        state = None
        while not future.done() and (state := self._context.end_state()) is None:
            wait_for([future], _POLL_SECONDS)
        if not future.done():
            future.stop()
            wait_for([future], _STOP_SECONDS)
            return None, _interrupted(state)
        try:
            return future.result(), None
        except (Failed, Refused, NoAnswer) as error:
            failure = self.end.failure(error)
            return None, Failure(failure.code, failure.message, failure.retryable)
        except (TimeoutError, CancelledError):
            return None, _interrupted(State.INCOMPLETE)

    def clean_up(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await work for a short time, also after the deadline."""
        future = self._guard.start(work)
        wait_for([future], _CLEANUP_SECONDS)


def _interrupted(state: State | None) -> Failure:
    code = "cancelled" if state is State.CANCELLED else "incomplete"
    text = CODES[code].title + "." if state is State.CANCELLED else _TIMED_OUT
    return Failure(code, text, CODES[code].retryable)
