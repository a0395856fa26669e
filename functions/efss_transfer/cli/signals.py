"""Cancel the copy on Ctrl-C, SIGTERM and SIGHUP; the command exits with 128 + the signal."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STEP_SECONDS: Final = 0.2


class SignalReceived(BaseException):
    """A signal asks this process to end. Not an Exception, so that no handler catches it."""


class Interruption:
    """The signal that was received, if any.

    With `polled`, no exception is raised: the copy polls `signal` and cleans up by itself.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.polled = False

    def handle(self, number: int, _: FrameType | None) -> None:
        """Handle a signal. A second one ends the process at once."""
        self.signal = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self.polled:
            raise SignalReceived

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds. Raises SignalReceived as soon as a signal arrives."""
        until = time.monotonic() + seconds
        # In steps: Python continues a sleep after a handler that raises nothing.
        while self.signal is None and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))
        if self.signal is not None:
            raise SignalReceived

    @property
    def exit_code(self) -> int:
        """The exit code by the convention of shells: 130 for Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle signals within the block. A signal that was ignored (nohup) stays ignored."""
    interruption = Interruption()
    before = {}
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interruption.handle)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
