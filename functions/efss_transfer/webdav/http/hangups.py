"""Notice that the engine has closed its connection while its request is being answered.

Nothing is read from the engine while the server is silent, so without this the request to the
server would continue until the server answers or is silent for too long. A connection is polled by
a timer, so that a request that is answered soon costs no system call.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_PERIOD_SECONDS: Final = 0.4
# Unlike an empty read, these also show behind unread data. An engine never closes only one half.
_CLOSED: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class HangUps:
    """Cancels the current task if the engine closes the connection during a request."""

    def __init__(self, connection: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._task = task
        self._connection = connection
        self._may_cancel: Callable[[], bool] | None = None
        self.noticed = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Poll the connection for the length of the block, while a request is `served`."""
        self._schedule()
        try:
            yield
        finally:
            self._timer.cancel()

    @contextmanager
    def served(self, may_cancel: Callable[[], bool]) -> Iterator[None]:
        """Mark that a request is being answered for the length of the block."""
        self._may_cancel = may_cancel
        try:
            yield
        finally:
            self._may_cancel = None

    def settle(self) -> None:
        """Take the cancellation back, once the request has ended by it."""
        self._task.uncancel()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self._look)

    def _look(self) -> None:
        if self._may_cancel is not None and self._may_cancel() and self._is_closed():
            self.noticed = True
            self._task.cancel()
            return
        self._schedule()

    def _is_closed(self) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return any(events & _CLOSED for _, events in poll.poll(0))
