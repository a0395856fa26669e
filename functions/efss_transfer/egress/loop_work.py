"""Work in an event loop, whose outcome another thread waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class LoopWork(Future[_Result]):
    """The outcome of a coroutine that runs in an event loop.

    `cancel` would make it done while the coroutine still runs; after `stop` it is done, and
    cancelled, once the coroutine has ended.
    """

    def __init__(self, call_soon: Callable[[Callable[[], object]], None]) -> None:
        """`call_soon` has the event loop call a function, from any thread."""
        super().__init__()
        self._call_soon = call_soon
        self._task: asyncio.Task[_Result] | None = None

    def begin(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> asyncio.Task[_Result]:
        """Begin the work, within the event loop."""
        self._task = asyncio.get_running_loop().create_task(work())
        self._task.add_done_callback(self._take)
        return self._task

    def stop(self) -> None:
        """Cancel the coroutine, from any thread. What has ended, or never began, stays as it is."""
        self._call_soon(self._stop)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _take(self, task: asyncio.Task[_Result]) -> None:
        if task.cancelled():
            self.cancel()
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())
