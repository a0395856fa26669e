"""Resume a transfer until it is complete: one request, sent as often as it takes.

An invocation is one request and its answer. An invocation that ran out of time is followed by
the next one at once; a failure that can pass is retried after a wait. The events of all
invocations are merged into those of one transfer, so that a copy of any length works on a
platform with a time limit.

`next_step` decides what follows an invocation. It is a pure function, because AWS Step Functions
ask it too, with the progress kept in the state machine's own state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from efss_transfer.backoff import Backoff
from efss_transfer.client import merge
from efss_transfer.client.arrivals import Arrivals
from efss_transfer.client.decoding import failure
from efss_transfer.client.errors import ClientError, ServiceUnreachable, StorageUnreachable
from efss_transfer.client.progress import after_earlier
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.result import FileState, Result, Shard, State, Totals, utc_now

STALLED: Final = 3
"""A transfer ends after so many invocations in a row that ran out of time without a new file."""

BACKOFF: Final = Backoff(first=1.0, longest=60.0, jitter=0.5)
# A caller that is asked to wait longer should come back on a schedule of its own.
_LONGEST_ASKED_SECONDS: Final = 300.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request may be sent again.

    `retries` bounds the retries of failures that can pass: a service or a storage that is busy
    or unreachable. A connection that broke after files had arrived starts the count again.
    `invocations` bounds all invocations, the first included; None is no bound. `carry_on` is
    whether a transfer that ran out of time is resumed. With `renewed_by_files` a result with
    failures starts the count again too, if files arrived. `unreached` is whether a service or a
    storage that was not reached at all is tried again: a person at a command sooner has a wrong
    address than one that comes back.
    """

    retries: int = 3
    invocations: int | None = None
    carry_on: bool = True
    renewed_by_files: bool = False
    unreached: bool = True


@dataclass(frozen=True)
class ResumeProgress:
    """Counters of the invocations so far.

    `stalled` counts invocations in a row that ran out of time without a new file, `tries` failed
    tries in a row.
    """

    invocations: int = 0
    stalled: int = 0
    tries: int = 0


@dataclass(frozen=True)
class Ended:
    """The end of one invocation.

    `state` is the result's, or None where the service gave no result. `arrived` is whether a
    file arrived that no earlier invocation had copied, `asked` the seconds that the service asked
    to wait. `is_detached` is whether the transfer goes on without the service.
    """

    state: State | None
    retryable: bool
    arrived: bool
    asked: float = 0.0
    is_detached: bool = False


@dataclass(frozen=True)
class NextStep:
    """The decision after an invocation: send the request again after `wait` seconds, or stop."""

    progress: ResumeProgress
    wait: float | None

    @property
    def resumes(self) -> bool:
        """Whether the request is to be sent again."""
        return self.wait is not None


def next_step(progress: ResumeProgress, ended: Ended, policy: RetryPolicy) -> NextStep:
    """Decide whether to send the request again, and after which wait."""
    stalled, tries = progress.stalled, progress.tries
    wait: float | None = None
    if ended.is_detached:
        pass  # the caller asked not to wait for it
    elif ended.state is State.INCOMPLETE:
        stalled = 0 if ended.arrived else stalled + 1
        tries = 0 if ended.arrived else tries
        if policy.carry_on and stalled < STALLED:
            wait = 0.0
    elif ended.state not in (State.SUCCEEDED, State.CANCELLED):
        renewed = ended.arrived and (ended.state is None or policy.renewed_by_files)
        tries = 1 if renewed else tries + 1
        stalled = 0 if ended.arrived else stalled
        if ended.retryable and tries <= policy.retries and ended.asked <= _LONGEST_ASKED_SECONDS:
            wait = BACKOFF.seconds(tries, ended.asked)
    count = progress.invocations + 1
    if count == policy.invocations:
        wait = None
    return NextStep(ResumeProgress(count, stalled, tries), wait)


def skips_existing_files(overwrite: str) -> bool:
    """Return whether a further invocation skips files that arrived: `always` copies them again."""
    return overwrite != "always"


class Running(Protocol):
    """The events of one invocation. Closing it early cancels the transfer."""

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events, `Finished` last."""

    def close(self) -> None:
        """Cancel the transfer if it has not ended."""


Invoke = Callable[[], Running]
"""Sends the request once. Raises ClientError, as may iterating over the result."""


@dataclass(frozen=True)
class Resumed:
    """The request is about to be sent again, `seconds` from now.

    `error` is the failure that is retried, or None if the time ran out. `number` is that of the
    next invocation, from 2 on, and `shard` its shard where there are several.
    """

    number: int
    seconds: float
    error: ClientError | None
    shard: Shard | None = None


def events(
    invoke: Invoke,
    policy: RetryPolicy,
    *,
    on_resume: Callable[[Resumed], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Event, None, None]:
    """Yield the events of a transfer over all its invocations.

    Each invocation begins with `Started`. Progress and the result, which comes last, have the
    totals of all invocations. Closing the generator cancels the one that runs. Raises ClientError
    where there is no result; its `result` is what earlier invocations have copied.
    """
    merged: Result | None = None
    progress, arrivals = ResumeProgress(), Arrivals()
    has_reached = policy.unreached
    while True:
        invocation = _Invocation(merged.totals if merged else Totals(), arrivals)
        error: ClientError | None = None
        try:
            with closing(invoke()) as running:
                for event in running:
                    if (shown := invocation.shown(event)) is not None:
                        yield shown
        except ClientError as broken:
            error = broken
        merged = invocation.merged(merged, broken=error is not None)
        if error is None:
            ended, error = _ended(merged, invocation)
        else:
            asked = error.retry_after or 0.0
            ended = Ended(None, error.retryable, invocation.arrived, asked)
        has_reached = has_reached or invocation.reached(error)
        if not has_reached:
            ended = replace(ended, retryable=False)
        step = next_step(progress, ended, policy)
        progress = step.progress
        if step.wait is None:
            if ended.state is None and error is not None:
                error.result = error.result or merged
                raise error
            if merged is None:
                raise AssertionError("an invocation ended without a result")
            yield Finished(merged)
            return
        on_resume(Resumed(progress.invocations + 1, step.wait, error))
        if step.wait:
            sleep(step.wait)


def _ended(merged: Result | None, invocation: _Invocation) -> tuple[Ended, ClientError | None]:
    """Describe an invocation that gave a result, and the failure in it that can be retried."""
    if merged is None or invocation.result is None:
        raise AssertionError("an invocation ended without a result")
    if merged.state in (State.SUCCEEDED, State.INCOMPLETE, State.CANCELLED) or not merged.retryable:
        return (
            Ended(
                merged.state,
                merged.retryable,
                invocation.arrived,
                is_detached=invocation.result.is_still_running,
            ),
            None,
        )
    error = failure(invocation.result)
    return Ended(merged.state, True, invocation.arrived, error.retry_after or 0.0), error


class _Invocation:
    """What one invocation has reported while it runs."""

    def __init__(self, before: Totals, arrivals: Arrivals) -> None:
        self.result: Result | None = None
        self._before = before
        self._arrivals = arrivals
        self._started: Started | None = None
        self._files = 0
        self._bytes = 0
        self._has_new_file = False

    @property
    def arrived(self) -> bool:
        """Whether a file has arrived that is new, or may be: some services do not name them."""
        unnamed = self.result is not None and self.result.totals.transferred > self._files
        return self._has_new_file or unnamed

    def shown(self, event: Event) -> Event | None:
        """Return the event as one of the whole transfer, or None for the invocation's own end."""
        match event:
            case Started():
                self._started = event
            case Progress():
                return after_earlier(event, self._before)
            case FileDone(outcome):
                if outcome.state is FileState.TRANSFERRED:
                    self._has_new_file |= self._arrivals.add(outcome.path)
                    self._files += 1
                    self._bytes += outcome.size or 0
            case Finished():
                self.result = event.result
                return None
        return event

    def reached(self, error: ClientError | None) -> bool:
        """Return whether the service and both storages were reached, as far as is known.

        `error` is the failure that could be retried, if there was one.
        """
        code = "" if error is None else error.code
        if code == ServiceUnreachable.code:
            return self._started is not None
        return self.arrived or code != StorageUnreachable.code

    def merged(self, earlier: Result | None, *, broken: bool) -> Result | None:
        """Merge it into the result of earlier invocations.

        A `broken` one has no result: what it reported before it broke counts as incomplete.
        """
        if not broken:
            return earlier if self.result is None else merge.successive(earlier, self.result)
        if self._started is None:
            return earlier
        finished: datetime = utc_now()
        reported = Result(
            state=State.INCOMPLETE,
            engine=self._started.engine,
            totals=Totals(self._files, 0, 0, self._bytes),
            started=self._started.started,
            finished=finished,
            code="incomplete",
            id=self._started.id,
        )
        return merge.successive(earlier, reported)
