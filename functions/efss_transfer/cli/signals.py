"""Ctrl-C and its like: the copy is cancelled, and then the command ends with 128 + the signal."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PIECE_SECONDS: Final = 0.2


class SignalReceived(BaseException):
    """A signal asks this process to end. No Exception, so that nothing takes it for an error."""


class Interruption:
    """Which signal has come, if one has.

    `gently` is for a copy that asks by itself, often, whether it must end, and then cleans up
    behind itself: nothing is raised in the midst of that.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.gently = False

    def came(self, number: int, _: FrameType | None) -> None:
        """The signals' handler. The second Ctrl-C ends the process at once."""
        self.signal = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self.gently:
            raise SignalReceived

    def sleep(self, seconds: float) -> None:
        """Wait, until a signal comes: then raises Interrupted."""
        until = time.monotonic() + seconds
        # In pieces: Python goes on with a sleep after a handler that raises nothing.
        while self.signal is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _PIECE_SECONDS))
        if self.signal is not None:
            raise SignalReceived

    @property
    def exit_code(self) -> int:
        """As shells count: 130 for Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn signals into Interrupted, within the block. What was ignored (nohup) stays so."""
    interruption = Interruption()
    before = {}
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interruption.came)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
