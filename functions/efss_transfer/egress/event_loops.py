"""Event loops that run in threads of their own, for whatever needs one at the same time.

Python runs one thread at a time. A guard calls the kernel for every few bytes, and lets
another thread run each time; with sixteen of them in sixteen threads each waits for its turn
after each call. Measured with sixteen requests at once, of 50 files each, on two processors:
the function took 1.9 s of a processor with sixteen threads, and takes 1.1 s with one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import Any, Final

from efss_transfer.config import resources

_LOG = logging.getLogger(__name__)
_LOOK_UP_SECONDS: Final = 1.0
# One loop passes on a GiB in 0.8 s of a processor, for which rclone takes 3.3 s: with as many
# processors as that for each loop, none is waited for.
_PROCESSORS_EACH: Final = 4


class Loop:
    """An event loop and its thread, for several users of it."""

    def __init__(self) -> None:
        self.users = 0
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_exception_handler(
            lambda _, context: report(context.get("exception", RuntimeError()))
        )
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="egress", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # there can be no more threads
            self._loop.close()
            raise

    @property
    def runs(self) -> bool:
        """Whether it does what it is told to."""
        return self._thread.is_alive()

    def soon(self, callback: Callable[[], object]) -> None:
        """Have the loop call something, from any thread; nothing once it is over."""
        with self._lock:
            if not self._over:
                self._loop.call_soon_threadsafe(callback)

    def do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the loop do something, from another thread, and wait until it is done, or it
        is clear that it never will be.
        """
        with self._lock:
            if self._over:
                return
            doing = asyncio.run_coroutine_threadsafe(work(), self._loop)
        while wait([doing], _LOOK_UP_SECONDS).not_done and self.runs:
            pass

    def end(self) -> None:
        """End it, and wait for that."""
        self.soon(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        except Exception as error:  # noqa: BLE001 - its users see that it does not run
            report(error)
        finally:
            with self._lock:
                self._over = True
                self._loop.close()


class Loops:
    """The loops of a process: there is one while somebody uses it, and at most a few."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._loops: list[Loop] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[Loop]:
        """The one with the fewest users, for the length of the block. Raises OSError and
        RuntimeError if there is none, and none can be made.
        """
        loop = self._taken()
        try:
            yield loop
        finally:
            self._given_back(loop)

    def _taken(self) -> Loop:
        with self._lock:
            running = [loop for loop in self._loops if loop.runs]
            loop = min(running, key=lambda loop: loop.users, default=None)
            if loop is None or (loop.users and len(running) < self._most):
                loop = Loop()
                self._loops.append(loop)
            loop.users += 1
            return loop

    def _given_back(self, loop: Loop) -> None:
        with self._lock:
            loop.users -= 1
            if loop.users:
                return
            self._loops.remove(loop)
        loop.end()


def as_many_as_are_of_use() -> int:
    """How many loops a process needs, so that none is waited for."""
    return math.ceil(resources.cpu_count() / _PROCESSORS_EACH)


def report(error: BaseException) -> None:
    """Log an error that nobody expects: its kind only, for its text may have anything in it."""
    _LOG.warning("an error in the guard: %s", type(error).__name__)
