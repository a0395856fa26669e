"""What the requests of one gateway wait for now, to be shown to a person."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from efss_transfer.model.events import Wait, WaitReason
from efss_transfer.model.result import Side

_REASONS: Final = {
    423: WaitReason.FILE_LOCKED,
    425: WaitReason.FILE_PROCESSING,
    429: WaitReason.SERVER_BUSY,
    503: WaitReason.SERVER_BUSY,
}
# What lasts less long is over before it can be read.
_SHORTEST_SECONDS: Final = 0.5
_TITLES: Final = {"nextcloud": "Nextcloud", "owncloud": "ownCloud", "ocis": "oCIS or OpenCloud"}


@dataclass(frozen=True, slots=True)
class _WaitingRequest:
    """A request that waits because of a status; `is_named` is whether the server named the time."""

    status: int
    path: str
    until: float
    is_named: bool


class Waits:
    """The waits of one gateway. Written in the event loop, and read by another thread."""

    def __init__(self) -> None:
        self.server = ""
        """The product that is waited for; empty if it is unknown."""
        self._numbers = itertools.count()
        self._waiting: dict[int, _WaitingRequest] = {}

    def name_server(self, dialect: str) -> None:
        """Take the name of the server's dialect."""
        self.server = _TITLES.get(dialect, "")

    @contextmanager
    def during(
        self, status: int | None, path: str, seconds: float, named: float | None = None
    ) -> Iterator[None]:
        """Note that a request waits, for the length of the block.

        `named` is the time that the server asked for, if it did.
        """
        number = next(self._numbers)
        if status in _REASONS and seconds >= _SHORTEST_SECONDS:
            until = time.monotonic() + seconds
            self._waiting[number] = _WaitingRequest(status, path, until, named is not None)
        try:
            yield
        finally:
            self._waiting.pop(number, None)

    def longest(self, side: Side) -> Wait | None:
        """Return the wait that ends last; None if nothing waits.

        It has a time only if the server named one: the gateway's own pauses are guesses.
        """
        waiting = list(self._waiting.values())
        if not waiting:
            return None
        last = max(waiting, key=lambda one: (one.is_named, one.until))
        reason = _REASONS[last.status]
        seconds = max(0.0, last.until - time.monotonic()) if last.is_named else None
        path = "" if reason is WaitReason.SERVER_BUSY else last.path
        return Wait(reason, side, self.server, path, seconds)
