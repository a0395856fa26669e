"""Retries of a copy: how long to wait before the next attempt, and when there is none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Final

from efss_transfer.backoff import Backoff
from efss_transfer.engines.base import Context
from efss_transfer.model.result import Failure

_LONGEST_SECONDS: Final = 60.0
# Storages that ask to be left alone say so in their message: engines do not see the header.
_HINT: Final = re.compile(
    r"(?i)\b(?:retry[- ]after:?|try(?:ing)? again (?:in|after))\s*(\d{1,6})\b(?!\.)"
)


class RetrySchedule:
    """The attempts of one transfer.

    The wait doubles from `seconds`, with jitter; a longer wait that a storage asks for counts
    instead. There is no further attempt if its wait would end too late to start a file.
    """

    def __init__(self, attempts: int, seconds: float, context: Context) -> None:
        self._attempts = attempts
        self._attempt = 1
        self._backoff = Backoff(seconds, _LONGEST_SECONDS, seconds / 2)
        self._context = context

    def is_last(self) -> bool:
        """Return whether the current attempt is the last by number."""
        return self._attempt >= self._attempts

    def after(self, failures: Iterable[Failure]) -> float | None:
        """Return the seconds to wait after an attempt with these failures, or None to stop."""
        if self.is_last():
            return None
        wait = self._backoff.seconds(self._attempt, asked_for(failures))
        if time.monotonic() + wait >= min(self._context.deadline, self._context.last_start):
            return None
        self._attempt += 1
        return wait


def asked_for(failures: Iterable[Failure]) -> float:
    """Return the longest wait that a storage asked for, in seconds; 0 if none did."""
    hints = (match[1] for failure in failures if (match := _HINT.search(failure.message)))
    return max(map(float, hints), default=0.0)
