"""Memory of all gateways of one transfer: one budget, of which each use has a part.

Nothing that holds a part waits for more of it, so the budget cannot cause a deadlock:

- Bodies and listings that are held in memory take their part before the first byte is read, and
  wait for it in order of arrival. Until then the engine's connection is not read.
- Streams do not wait, because an engine's download waits for its own upload. When the memory gets
  short, they use smaller buffers, which cost more processor time.
- Caches drop their oldest entries.
- Content that was read ahead is kept beside what is held, in at most half of that part, and given
  up where others wait for memory.

Each body of unknown length may hold 512 KiB besides, where a server must know each length.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

MOST: Final = 64 << 20
"""Largest budget in bytes."""

_SHARE: Final = 8
"""The budget is at most this part of a transfer's memory."""

WIDE: Final = 1 << 18
"""Largest buffer of a stream in bytes."""

NARROW: Final = 1 << 14
"""Buffer in bytes that each stream gets in any case: their number is limited by the tuning."""

# With TLS, OpenSSL holds the same bytes encrypted in a buffer of its own, which grows by a third
# more than needed, and they pass through one more on their way to or from the socket.
_TLS_COPIES: Final = 4
# A body in memory is joined from its pieces, and joined with its head when it is sent.
_BODY_COPIES: Final = 3
_PIPE: Final = 1 << 20


def size_for(memory: int) -> int:
    """Return the size of the budget for a transfer with so many bytes of memory."""
    return min(memory // _SHARE, MOST)


class Budget:
    """Budget of `size` bytes, bound to one event loop.

    `held` and `lent` are the bytes in use now; `most_held` is the largest value of `held` so far.
    """

    def __init__(self, size: int = MOST) -> None:
        self.size = size
        self.caches = size * 3 // 8
        self.pieces = size // 8
        self.held = 0
        self.most_held = 0
        self.lent = 0
        self.kept = 0
        self._droppers: list[Callable[[], bool]] = []
        self._for_holding = size // 4
        self._for_streams = size // 8
        self._pipes = size // 8 // _PIPE
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Hold bytes for the length of the block. Waits until there is room for them.

        A size above the whole is treated as the whole: one such use at a time.
        """
        size = min(size, self._for_holding)
        while not self._is_free(size) and any(drop() for drop in self._droppers):
            pass
        if self._waiting or not self._is_free(size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back(size)
                raise
        else:
            self._take(size)
        try:
            yield
        finally:
            self._give_back(size)

    @property
    def left_to_keep(self) -> int:
        """Number of bytes that `keep` may take now."""
        if self._waiting:
            return 0
        left = self._for_holding - self.held - self.kept
        return max(0, min(left, self._for_holding // 2 - self.kept))

    @property
    def is_short(self) -> bool:
        """Whether somebody waits for memory."""
        return bool(self._waiting)

    def add_dropper(self, drop: Callable[[], bool]) -> None:
        """Add a function that gives up some of what is kept; False if it has nothing."""
        self._droppers.append(drop)

    def keep(self, size: int) -> None:
        """Take bytes that are left for content which is read ahead."""
        self.kept += size

    def release(self, size: int) -> None:
        """Give back bytes that were kept."""
        self.kept -= size
        self._serve()

    @contextmanager
    def lending(self, length: int | None, *, is_plain: bool) -> Iterator[Buffer]:
        """Lend the buffer of a stream of this length (None: unknown) for the length of the block.

        As much as three others could have as well, so that later streams find some, too.
        """
        copies = 1 if is_plain else _TLS_COPIES
        wanted = WIDE if length is None else min(WIDE, length)
        size = max(NARROW, min(wanted, (self._for_streams - self.lent) // copies // 4))
        pipe = is_plain and self._pipes > 0
        self.lent += size * copies
        self._pipes -= pipe
        try:
            yield Buffer(size, pipe=pipe)
        finally:
            self.lent -= size * copies
            self._pipes += pipe

    def _take(self, size: int) -> None:
        self.held += size
        self.most_held = max(self.most_held, self.held)

    def _give_back(self, size: int) -> None:
        self.held -= size
        self._serve()

    def _serve(self) -> None:
        """Let those that wait have what is free, in the order of their arrival."""
        while self._waiting and self._is_free(self._waiting[0][0]):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._take(wanted)
                turn.set_result(None)

    def _is_free(self, size: int) -> bool:
        return self.held + self.kept + size <= self._for_holding


@dataclass(frozen=True, slots=True)
class Buffer:
    """Size of a stream's buffer, and whether the stream may use a pipe instead."""

    size: int
    pipe: bool


def weight_of_body(length: int, *, is_plain: bool) -> int:
    """Return how many bytes a body takes that is held in memory and then sent."""
    return length * (_BODY_COPIES if is_plain else _BODY_COPIES + 1)
