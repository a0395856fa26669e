"""Remove what broken uploads left at the server.

Clean-ups go on when their request is cancelled, but not when the transfer is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from efss_transfer.webdav.session import Failed

if TYPE_CHECKING:
    from efss_transfer.webdav.words import Record

# Half of the time that a transfer keeps for its end: the answer must not be late.
_SECONDS: Final = 1.5
# A proxy gave up the request; the server behind it may not have.
_UNCERTAIN: Final = frozenset({502, 504})


@dataclass
class Remains:
    """What an upload leaves at the server if it does not end well."""

    exist: bool = True
    are_in_use: bool = False
    """Whether the server was asked to make a file of them."""


class CleanUps:
    """Requests of one gateway that remove what broken uploads left at the server."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._end_at: float | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work. It goes on if the caller is cancelled while it waits."""
        await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin the work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._end_at is not None:
            asyncio.get_running_loop().call_at(self._end_at, task.cancel)
        return task

    @asynccontextmanager
    async def remains(
        self, remove: Callable[[], Coroutine[Any, Any, None]], name: str, record: Record
    ) -> AsyncGenerator[Remains, None]:
        """Remove what the upload in this block leaves if it fails.

        They stay if the server was asked to make a file of them and has not answered: it may still
        read them, and would cut off the file that it replaces. A later transfer removes them.
        """
        found = Remains()
        try:
            yield found
        except BaseException as error:
            is_answered = isinstance(error, Failed) and not (
                error.said.status in _UNCERTAIN and not error.said.exception
            )
            if found.are_in_use and not is_answered:
                record.warn("partial_left", name, "The server may still make a file of it.")
            elif found.exist:
                await self.run(remove())
            raise

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
