"""The queue and the batches under way, which uploads and reads of many files have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Generic, Protocol, TypeVar


class Waiting(Protocol):
    """A file that waits for its batch. `answer` is None if the file must go the plain way."""

    answer: asyncio.Future[Any]


Item = TypeVar("Item", bound=Waiting)


def resolve(one: Waiting, answer: object) -> None:
    """Answer a file, unless it was answered before or its request was broken off."""
    if not one.answer.done():
        one.answer.set_result(answer)


class BatchQueue(ABC, Generic[Item]):
    """Files that wait, and the batches that were sent. A subclass decides when a batch leaves."""

    def __init__(self) -> None:
        self._waiting: list[Item] = []
        self._sent: dict[asyncio.Task[None], list[Item]] = {}
        self._most_waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    async def ended(self) -> None:
        """End all batches, and wait for their end: nobody waits for them any more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sent:
            task.cancel()
        while self._sent:
            await asyncio.wait(list(self._sent))

    @abstractmethod
    def _may_leave(self) -> bool:
        """Whether a batch of the files that wait may leave now."""

    @abstractmethod
    def _depart(self) -> None:
        """Take files out of the queue, and send or answer them."""

    @abstractmethod
    def _set_timer(self) -> asyncio.TimerHandle | None:
        """Decide when to look again at the files that wait, if nothing happens before."""

    async def _answered(self, one: Item) -> None:
        """Wait until a file has its answer."""
        self._waiting.append(one)
        self._look()
        try:
            await one.answer
        except asyncio.CancelledError:
            self._leave(one)
            raise

    def _look(self) -> None:
        """Send what is ready, and wait for a moment for more of the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._may_leave():
            self._depart()
        if self._waiting:
            self._timer = self._set_timer()

    def _begin(self, batch: list[Item], work: Coroutine[Any, Any, None]) -> None:
        """Begin the work of a batch. What it leaves unanswered goes the plain way."""
        task = asyncio.create_task(work)
        self._sent[task] = batch
        task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[None]) -> None:
        """Answer for a batch that has ended, and look whether another may leave."""
        for one in self._sent.pop(task):
            resolve(one, None)
        if not task.cancelled():
            task.exception()  # its files go the plain way, which reports what is wrong
        self._look()

    def _leave(self, one: Item) -> None:
        """Drop a file whose request was broken off. A batch without files ends."""
        if one in self._waiting:
            self._waiting.remove(one)
        for task, batch in self._sent.items():
            if all(other.answer.done() for other in batch):
                task.cancel()
