"""A request that is sent as often as it takes, and what is told of it as one transfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from efss_transfer.client import resume
from efss_transfer.client.errors import (
    Busy,
    ClientError,
    Forbidden,
    ServiceUnreachable,
    StorageUnreachable,
)
from efss_transfer.client.resume import Ended, Resumed, ResumeProgress, RetryPolicy, next_step
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.result import (
    ErrorGroup,
    FileOutcome,
    FileState,
    Reason,
    Result,
    Sample,
    State,
    Totals,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Script:
    """A service that answers as it is told, one entry an invocation."""

    def __init__(self, *entries: Any) -> None:
        self.entries = list(entries)
        self.sent = 0
        self.closed = 0
        self.waits: list[float] = []
        self.told: list[Resumed] = []

    def __call__(self) -> Script:
        self.sent += 1
        entry = self.entries.pop(0)
        if isinstance(entry, Exception):
            raise entry
        self.entry = entry
        return self

    def __iter__(self) -> Iterator[Event]:
        for each in self.entry:
            if isinstance(each, Exception):
                raise each
            yield each

    def close(self) -> None:
        self.closed += 1

    def run(self, policy: RetryPolicy = RetryPolicy()) -> list[Event]:  # noqa: B008
        return list(
            resume.events(self, policy, on_resume=self.told.append, sleep=self.waits.append)
        )


def invocation(
    state: State, transferred: int = 0, skipped: int = 0, *, size: int = 10, **more: Any
) -> list[Event]:
    """One that copied files of so many bytes, and found others there."""
    reasons = {Reason.SAME: skipped} if skipped else {}
    failed = more.pop("failed", 0)
    errors: tuple[ErrorGroup, ...] = ()
    if code := more.pop("code", None):
        errors = (ErrorGroup(code, None, more.pop("retryable"), failed or 1, (Sample("x", "y"),)),)
    totals = Totals(transferred, skipped, failed, transferred * size, reasons)
    begun = more.pop("begun", NOON)
    return [
        Started("rclone", begun, "run-42"),
        Progress(Totals(transferred, skipped), transferred * size, 5, 50, 1.0),
        *(
            FileDone(FileOutcome(f"{begun}{n}", FileState.TRANSFERRED, size))
            for n in range(transferred)
        ),
        Finished(
            Result(state, "rclone", totals, begun, begun + timedelta(seconds=9), code, errors)
        ),
    ]


def result(events: list[Event]) -> Result:
    assert sum(isinstance(event, Finished) for event in events) == 1
    last = events[-1]
    assert isinstance(last, Finished)
    return last.result


def test_what_the_time_ran_out_for_is_gone_on_with_and_added_up() -> None:
    script = Script(
        invocation(State.INCOMPLETE, 3, 2),
        invocation(State.INCOMPLETE, 4, 3, begun=NOON + timedelta(seconds=10)),
        # 2 were there before all, 7 were brought by the first two.
        invocation(State.SUCCEEDED, 1, 9, begun=NOON + timedelta(seconds=20)),
    )
    events = script.run()
    done = result(events)
    assert done.state is State.SUCCEEDED
    assert done.totals == Totals(8, 2, 0, 80, {Reason.SAME: 2})
    assert done.attempts == 3
    assert (done.started, done.finished) == (NOON, NOON + timedelta(seconds=29))
    assert [again.number for again in script.told] == [2, 3]
    assert script.waits == []
    assert script.closed == 3
    progress = [event for event in events if isinstance(event, Progress)]
    assert [it.totals.transferred for it in progress] == [3, 7, 8]
    assert [it.current_bytes for it in progress] == [30, 70, 80]
    assert [it.expected_bytes for it in progress] == [50, 80, 120]


def test_it_ends_when_no_file_arrives_any_more() -> None:
    script = Script(
        invocation(State.INCOMPLETE, 1),
        *(invocation(State.INCOMPLETE) for _ in range(resume.STALLED)),
    )
    assert result(script.run()).state is State.INCOMPLETE
    assert script.sent == 1 + resume.STALLED


@pytest.mark.field_case(
    "F1", variant="a client whose later invocations copy fewer of the same files"
)
@pytest.mark.parametrize("later", [(5,), (5, 5, 3), (0, 5)])
def test_it_ends_when_only_the_same_files_arrive(later: tuple[int, ...]) -> None:
    script = Script(
        invocation(State.INCOMPLETE, 5),
        *(invocation(State.INCOMPLETE, later[n % len(later)]) for n in range(10)),
    )
    assert result(script.run()).state is State.INCOMPLETE
    assert script.sent == 1 + resume.STALLED


@pytest.mark.field_case("F1")
def test_it_goes_on_while_new_files_arrive_among_others() -> None:
    counts = (3, 3, 4, 4, 4, 5)
    script = Script(
        *(invocation(State.INCOMPLETE, number) for number in counts),
        invocation(State.SUCCEEDED, 5),
    )
    assert result(script.run()).state is State.SUCCEEDED
    assert script.sent == 7


def test_it_ends_at_the_bound() -> None:
    script = Script(*(invocation(State.INCOMPLETE, 1) for _ in range(9)))
    done = result(script.run(RetryPolicy(invocations=2)))
    assert (done.state, done.totals.transferred, script.sent) == (State.INCOMPLETE, 2, 2)


def test_it_is_not_gone_on_with_unless_asked_to() -> None:
    script = Script(invocation(State.INCOMPLETE, 1))
    assert result(script.run(RetryPolicy(carry_on=False))).state is State.INCOMPLETE


def test_what_can_pass_by_itself_is_tried_again_after_a_wait_that_doubles() -> None:
    script = Script(
        Busy("full", retryable=True, retry_after=5),
        ServiceUnreachable("gone", retryable=True),
        invocation(State.PARTIAL, 4, failed=1, code="storage_unreachable", retryable=True),
        invocation(State.SUCCEEDED, 1, 4),
    )
    done = result(script.run())
    assert (done.state, done.totals.transferred, done.totals.skipped) == (State.SUCCEEDED, 5, 0)
    assert script.waits[0] == 5
    assert 2 <= script.waits[1] <= 2.5
    assert 4 <= script.waits[2] <= 4.5
    assert [type(again.error) for again in script.told[:2]] == [Busy, ServiceUnreachable]


def test_a_wait_that_a_storage_asks_for_is_kept() -> None:
    script = Script(
        invocation(State.FAILED, code="storage_busy", retryable=True), invocation(State.SUCCEEDED)
    )
    script.run()
    assert script.waits == [30]


def test_it_is_not_tried_again_more_often_than_it_may() -> None:
    script = Script(*(Busy("full", retryable=True) for _ in range(9)))
    with pytest.raises(Busy):
        script.run(RetryPolicy(retries=2))
    assert script.sent == 3
    script = Script(Busy("full", retryable=True))
    with pytest.raises(Busy):
        script.run(RetryPolicy(retries=0))
    failing = [
        invocation(State.FAILED, code="storage_unreachable", retryable=True) for _ in range(9)
    ]
    script = Script(*failing)
    assert result(script.run(RetryPolicy(retries=1))).code == "storage_unreachable"
    assert script.sent == 2


def test_who_asks_for_an_hour_is_not_waited_for() -> None:
    script = Script(Busy("full", retryable=True, retry_after=3600))
    with pytest.raises(Busy):
        script.run()
    assert script.waits == []


@pytest.mark.parametrize(
    "error", [Forbidden("no"), ClientError("no"), StorageUnreachable("no", retryable=False)]
)
def test_what_cannot_pass_is_not_tried_again(error: ClientError) -> None:
    script = Script(error)
    with pytest.raises(type(error)):
        script.run()
    assert script.sent == 1


def test_files_that_failed_for_good_are_not_tried_again() -> None:
    script = Script(invocation(State.PARTIAL, 3, failed=1, code="name_refused", retryable=False))
    assert result(script.run()).totals.failed == 1


def test_connections_that_break_now_and_then_do_not_end_a_copy_that_gets_on() -> None:
    broken = [
        [
            *invocation(State.SUCCEEDED, 1, begun=NOON + timedelta(seconds=number))[:-1],
            ServiceUnreachable("gone", retryable=True),
        ]
        for number in range(1, 10)
    ]
    script = Script(*broken, invocation(State.SUCCEEDED, 1, 9))
    done = result(script.run(RetryPolicy(retries=1)))
    assert (done.totals.transferred, done.totals.skipped, done.totals.failed) == (10, 0, 0)
    assert done.totals.transferred_bytes == 100


def test_an_error_at_last_tells_what_was_done_before() -> None:
    script = Script(invocation(State.INCOMPLETE, 3), Forbidden("no more"))
    with pytest.raises(Forbidden) as caught:
        script.run()
    assert caught.value.result is not None
    assert caught.value.result.totals.transferred == 3


def test_who_stops_listening_cancels() -> None:
    script = Script(invocation(State.SUCCEEDED, 3))
    run = resume.events(script, RetryPolicy())
    next(run)
    assert script.closed == 0
    run.close()
    assert script.closed == 1
    assert script.sent == 1


def test_what_was_cancelled_is_not_begun_again() -> None:
    script = Script(invocation(State.CANCELLED, 1, code="cancelled", retryable=True))
    assert result(script.run()).state is State.CANCELLED


def ended(state: State | None, *, arrived: bool = False, asked: float = 0.0) -> Ended:
    return Ended(state, retryable=state is not State.CANCELLED, arrived=arrived, asked=asked)


def test_next_step_stops_after_invocations_without_a_file() -> None:
    progress = ResumeProgress()
    waits = []
    for _ in range(resume.STALLED):
        step = next_step(progress, ended(State.INCOMPLETE), RetryPolicy())
        progress, wait = step.progress, step.wait
        waits.append(wait)
    assert waits == [0.0] * (resume.STALLED - 1) + [None]


def test_next_step_renews_retries_by_files_only_where_the_policy_says_so() -> None:
    before = ResumeProgress(invocations=7, tries=3)
    partial = ended(State.PARTIAL, arrived=True)
    assert next_step(before, partial, RetryPolicy(retries=3)).wait is None
    renewed = next_step(before, partial, RetryPolicy(retries=3, renewed_by_files=True))
    assert (renewed.resumes, renewed.progress) == (True, ResumeProgress(8, 0, 1))
    broken = next_step(before, ended(None, arrived=True), RetryPolicy(retries=3))
    assert (broken.resumes, broken.progress.tries) == (True, 1)


def test_next_step_stops_at_the_last_invocation_and_at_the_end() -> None:
    assert not next_step(
        ResumeProgress(invocations=1), ended(State.INCOMPLETE), RetryPolicy(invocations=2)
    ).resumes
    for state in (State.SUCCEEDED, State.CANCELLED):
        assert not next_step(ResumeProgress(), ended(state), RetryPolicy()).resumes


GONE = ServiceUnreachable("127.0.0.1:9 refused the connection.", retryable=True)
DEAD: dict[str, Any] = {"code": "storage_unreachable", "retryable": True}


@pytest.mark.parametrize("first", [GONE, invocation(State.FAILED, **DEAD)])
def test_what_was_not_reached_at_all_is_tried_again_only_where_that_is_asked_for(
    first: Any,
) -> None:
    script = Script(first, invocation(State.SUCCEEDED, 1))
    assert result(script.run()).state is State.SUCCEEDED
    script = Script(first)
    if isinstance(first, Exception):
        with pytest.raises(ServiceUnreachable):
            script.run(RetryPolicy(unreached=False))
    else:
        assert result(script.run(RetryPolicy(unreached=False))).state is State.FAILED
    assert (script.sent, script.waits) == (1, [])


@pytest.mark.parametrize(
    "first",
    [
        [*invocation(State.SUCCEEDED)[:1], GONE],
        invocation(State.FAILED, 1, **DEAD),
        Busy("Full.", retryable=True),
        invocation(State.FAILED, code="storage_busy", retryable=True),
    ],
)
def test_what_was_reached_once_is_tried_again_when_it_is_gone(first: Any) -> None:
    script = Script(first, GONE, invocation(State.SUCCEEDED, 1))
    assert result(script.run(RetryPolicy(unreached=False))).state is State.SUCCEEDED
    assert script.sent == 3


def test_detached_transfer_is_not_sent_again() -> None:
    running = Ended(State.INCOMPLETE, retryable=True, arrived=False, is_detached=True)
    assert next_step(ResumeProgress(), running, RetryPolicy()).wait is None
    last = invocation(State.INCOMPLETE)[-1]
    assert isinstance(last, Finished)
    detached = Finished(replace(last.result, code="still_running"))
    script = Script([*invocation(State.INCOMPLETE)[:-1], detached])
    done = result(script.run())
    assert (done.is_still_running, script.sent) == (True, 1)
