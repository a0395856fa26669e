"""One request, sent as often as it takes: a loop around one invocation.

What the time ran out for is gone on with at once; what can pass by itself is tried again
after a wait. The events of all invocations are told as one transfer's, the merged result last,
so that a copy of any length works against a platform with a time limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from tenacity import RetryCallState, Retrying, retry_always, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from efss_transfer.client import merge
from efss_transfer.client.decoding import failure
from efss_transfer.client.errors import ClientError
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.result import FileState, Result, Shard, State, Totals, now

STALLED: Final = 3
"""So many invocations, one after another, that ran out of time and brought no file end it."""

_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 60.0
# Who is asked to wait for longer than this had better come back by a plan of its own.
_LONGEST_ASKED_SECONDS: Final = 300.0


class Running(Protocol):
    """The events of one invocation; closing it early cancels the transfer."""

    def __iter__(self) -> Iterator[Event]:
        """The events, `Finished` last."""

    def close(self) -> None:
        """Cancel the transfer if it has not ended."""


Invoke = Callable[[], Running]
"""Sends the request once. Raises ClientError, as iterating over what it gives may."""


@dataclass(frozen=True)
class Resumed:
    """The request is about to be sent again, `seconds` from now.

    It is because the time ran out if `error` is None. `number` is that of the invocation
    that is to come, from 2 on, of the `shard` where there are several.
    """

    number: int
    seconds: float
    error: ClientError | None
    shard: Shard | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request may be sent again.

    `retries` is how often at most for what can pass by itself: a service that is busy or gone,
    a storage that is. A connection that broke counts from the last file that arrived.
    `invocations` is how many there may be in all, None for as many as it takes. `carry_on`
    is whether to go on with what the time ran out for.
    """

    retries: int = 3
    invocations: int | None = None
    carry_on: bool = True


def events(
    invoke: Invoke,
    bounds: RetryPolicy,
    *,
    told: Callable[[Resumed], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Event, None, None]:
    """The events of a transfer that takes as many invocations as it takes.

    Each invocation begins with `Started`; totals of progress and of the one result, which
    comes last, are those of all. Closing the generator cancels what runs. Raises ClientError
    where there is no result to tell; its `result` is what earlier invocations have done.
    """
    merged: Result | None = None
    stalled = 0
    tries = _Tries(bounds.retries)
    for number in range(1, (bounds.invocations or _ENDLESS) + 1):
        last = number == bounds.invocations
        run = _Invocation(merged.totals if merged else Totals())
        error: ClientError | None = None
        try:
            with closing(invoke()) as running:
                for event in running:
                    if (shown := run.shown(event)) is not None:
                        yield shown
        except ClientError as broken:
            error = broken
        if error is not None:
            if run.brought:
                tries = _Tries(bounds.retries)
            merged = run.merged(merged)
            seconds = None if last or not error.retryable else tries.after(error)
            if seconds is None:
                error.result = error.result or merged
                raise error
        else:
            if run.ended is None:
                raise AssertionError("an invocation ended without a result")
            merged = merge.successive(merged, run.ended)
            stalled = 0 if run.brought else stalled + 1
            seconds = None
            if last or merged.state in (State.SUCCEEDED, State.CANCELLED):
                pass
            elif merged.state is State.INCOMPLETE:
                if bounds.carry_on and stalled < STALLED:
                    seconds = 0.0
            elif merged.retryable:
                error = failure(run.ended)
                seconds = tries.after(error)
            if seconds is None:
                yield Finished(merged)
                return
        told(Resumed(number + 1, seconds, error))
        if seconds:
            sleep(seconds)
    raise AssertionError("more invocations than there may be")


_ENDLESS: Final = 1 << 62


class _Invocation:
    """What is known of an invocation while it runs."""

    def __init__(self, before: Totals) -> None:
        self.ended: Result | None = None
        self._before = before
        self._started: Started | None = None
        self._since: datetime = now()
        self._files = 0
        self._bytes = 0

    @property
    def brought(self) -> bool:
        """Whether a file has arrived."""
        return bool(self.ended.totals.transferred if self.ended else self._files)

    def shown(self, event: Event) -> Event | None:
        """The event as it is told of the whole transfer."""
        match event:
            case Started():
                self._started = event
            case Progress():
                return merge.ahead(event, self._before)
            case FileDone(outcome):
                if outcome.state is FileState.TRANSFERRED:
                    self._files += 1
                    self._bytes += outcome.size or 0
            case Finished():
                self.ended = event.result
                return None
        return event

    def merged(self, earlier: Result | None) -> Result | None:
        """What is known after it broke off without a result, as far as it was told."""
        if self._started is None:
            return earlier
        told = Result(
            state=State.INCOMPLETE,
            engine=self._started.engine,
            totals=Totals(self._files, 0, 0, self._bytes),
            started=self._started.started,
            finished=now(),
            code="incomplete",
            id=self._started.id,
        )
        return merge.successive(earlier, told)


# Doubling, with chance in it.
_BACK_OFF: Final = wait_exponential(
    multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS
) + wait_random(0, _FIRST_WAIT_SECONDS / 2)


def back_off(tries: int) -> float:
    """Seconds to wait after so many tries, for whoever counts them elsewhere."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = tries
    return float(_BACK_OFF(state))


class _Tries:
    """tenacity counts the tries, and says how long to wait."""

    def __init__(self, retries: int) -> None:
        self._retrying = Retrying(
            retry=retry_always,
            stop=stop_after_attempt(retries + 1),
            wait=self._wait,
            retry_error_callback=lambda _: None,
        )
        self._retrying.begin()
        self._state = RetryCallState(self._retrying, None, (), {})

    def after(self, error: ClientError) -> float | None:
        """Seconds to wait after a try that failed so; None if there is to be no other."""
        asked = error.retry_after or 0.0
        if asked > _LONGEST_ASKED_SECONDS:
            return None
        self._state.set_result(asked)
        again = self._retrying.iter(self._state)
        if not isinstance(again, float):
            return None
        self._state.prepare_for_next_attempt()
        return again

    def _wait(self, state: RetryCallState) -> float:
        asked: float = state.outcome.result() if state.outcome else 0.0
        return max(asked, _BACK_OFF(state))


def may_be_carried_on(overwrite: str) -> bool:
    """Whether a further invocation skips what is there: with `always` each begins anew."""
    return overwrite != "always"
