"""Let clean-ups go on when their request is cancelled, but not when the transfer is over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

# Half of the time that a transfer keeps for its end: the answer must not be late.
_SECONDS: Final = 1.5


class CleanUps:
    """Requests of one gateway that remove what broken uploads left at the server."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._end_at: float | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work. It goes on if the caller is cancelled while it waits."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._end_at is not None:
            asyncio.get_running_loop().call_at(self._end_at, task.cancel)
        await asyncio.shield(task)

    def begin_end(self) -> None:
        """Give all clean-ups, also those that begin later, a few seconds from now on."""
        loop = asyncio.get_running_loop()
        self._end_at = loop.time() + _SECONDS
        for task in self._tasks:
            loop.call_at(self._end_at, task.cancel)

    async def ended(self) -> None:
        """Wait until no clean-up runs. Only after `begin_end`."""
        while self._tasks:
            await asyncio.wait(self._tasks)
