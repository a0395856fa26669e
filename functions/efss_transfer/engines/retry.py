"""How long to wait before trying again, and when to stop trying."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from efss_transfer.engines.base import Context
from efss_transfer.model.result import Failure

if TYPE_CHECKING:
    from tenacity import RetryCallState

_LONGEST_SECONDS: Final = 60.0
_HINT: Final = re.compile(
    r"(?i)\b(?:retry[- ]after:?|try(?:ing)? again (?:in|after))\s*(\d{1,6})\b(?!\.)"
)


class RetrySchedule:
    """The attempts that a transfer has: tenacity counts them, and says how long to wait.

    Back-off doubles from `seconds`, with jitter; what a server asked for counts if it is
    longer. There is no further attempt if the wait for it would be over too late to begin
    with a file.
    """

    def __init__(self, attempts: int, seconds: float, context: Context) -> None:
        # Here and not above: by then rclone has been started, and boots meanwhile.
        from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt
        from tenacity.wait import wait_exponential, wait_random

        self._context = context
        self._most = stop_after_attempt(attempts)
        self._attempts = attempts
        self._back_off = wait_exponential(multiplier=seconds, max=_LONGEST_SECONDS) + wait_random(
            0, seconds / 2
        )
        retrying = Retrying(
            retry=retry_if_result(lambda hint: hint is not None),
            stop=self._is_enough,
            wait=self._wait,
            retry_error_callback=lambda _: None,
        )
        retrying.begin()
        self._retrying = retrying
        self._state = RetryCallState(retrying, None, (), {})

    def is_last(self) -> bool:
        """Whether the attempt that is made now is the last by number."""
        return self._state.attempt_number >= self._attempts

    def after(self, why: Iterable[Failure]) -> float | None:
        """How many seconds to wait after an attempt that failed for these reasons, before
        the next; None if there is none.
        """
        self._state.set_result(asked_for(why))
        again = self._retrying.iter(self._state)
        if not isinstance(again, float):
            return None
        self._state.prepare_for_next_attempt()
        return again

    def _wait(self, state: RetryCallState) -> float:
        hint: float = state.outcome.result() if state.outcome else 0.0
        return max(hint, self._back_off(state))

    def _is_enough(self, state: RetryCallState) -> bool:
        begins = time.monotonic() + state.upcoming_sleep
        return self._most(state) or begins >= min(self._context.deadline, self._context.last_start)


def asked_for(why: Iterable[Failure]) -> float:
    """How many seconds servers asked to be left alone, the longest of them; 0 if none did."""
    hints = (match[1] for failure in why if (match := _HINT.search(failure.message)))
    return max(map(float, hints), default=0.0)
