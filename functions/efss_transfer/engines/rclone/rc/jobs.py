"""Runs rclone's jobs: rc calls that wait for a storage. Yields events while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, Final, NamedTuple

from efss_transfer.engines.rclone.rc.client import Job, RcError
from efss_transfer.engines.rclone.rc.progress import STALLED_SECONDS, ProgressReporter, in_flight
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Json, State

# How often a wait is interrupted to check the deadline and to report progress.
_POLL_SECONDS: Final = 0.2
_COLLECTED_ABOVE: Final = 192 << 20
# A job that waits for a storage, and has sent nothing of any file, has nothing to remove.
_IDLE_STOP_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 1.0
# Files that wait in rclone's queue after refusals leave it one by one: 64 of them within 8 s.
_DRAIN_SECONDS: Final = 12.0

AfterStop = Callable[[Mapping[str, int]], None]
"""Called after running jobs were stopped, with the sizes in bytes of the files in flight."""


class TransferInterrupted(Exception):
    """The transfer must end now, in this state."""

    def __init__(self, state: State) -> None:
        super().__init__(state.value)
        self.state = state


class RcCall(NamedTuple):
    """An rc call, the key by which its caller recognises its job, and what takes its output in
    pieces if it may be long.
    """

    key: Any
    name: str
    parameters: Mapping[str, Any]
    take: Callable[[bytes], None] | None = None


class JobRunner:
    """Runs jobs until they are done, `should_stop` says so, or the transfer must end.

    Its methods are generators: they yield events while they wait, and raise TransferInterrupted
    if the transfer must end. However a generator ends, its jobs have ended, or rclone is dead.
    """

    def __init__(
        self,
        run: RunContext,
        progress: ProgressReporter,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run = run
        self._progress = progress
        self._should_stop = should_stop
        self._collects_garbage = False
        self._stopped: list[Job] = []
        self.stats: dict[str, Json] = {}
        """`core/stats` after the last jobs: the statistics of all work of this daemon."""

    def collect_garbage(self) -> None:
        """Turn on rclone's garbage collector, which is off at its start."""
        if not self._collects_garbage:
            self._run.rc.enable_garbage_collection()
            self._collects_garbage = True

    def run(
        self,
        call: str,
        parameters: Mapping[str, Any],
        after_stop: AfterStop | None = None,
        take: Callable[[bytes], None] | None = None,
    ) -> Generator[Event, None, Job]:
        """Run one job, and return it when it is done or was stopped. `take`: see RcCall."""
        done: list[Job] = []
        calls = [RcCall(None, call, parameters, take)]
        yield from self.run_all(calls, 1, lambda _, job: done.append(job), after_stop)
        return done[0]

    def run_all(
        self,
        calls: Iterable[RcCall],
        at_once: int,
        on_done: Callable[[Any, Job], None],
        after_stop: AfterStop | None = None,
    ) -> Generator[Event, None, None]:
        """Run jobs, at most `at_once` at a time; `on_done` takes the key and the job of each.

        The first job always starts. The others start only while there is time for another file.
        """
        self._run.log.head_error = ""
        batch = _Batch(self._run, calls, at_once)
        try:
            while batch.start_more():
                for call, job in batch.wait(_POLL_SECONDS):
                    on_done(call.key, job)
                if not batch.is_done:
                    # Not earlier: the garbage of a small job goes with the daemon. Collecting that
                    # of 2,000 files that are not copied took a seventh of rclone's time.
                    if self._run.resident_bytes() > _COLLECTED_ABOVE:
                        self.collect_garbage()
                    self._check_interruption()
                    yield from self._progress.events()
                    if self._should_stop():
                        self._stop(batch.running, after_stop)
                        for call, job in batch.running:
                            on_done(call.key, job)
                        break
        except EngineError:
            raise  # The daemon is dead or silent: no job is left to stop.
        except BaseException as error:  # GeneratorExit included: the consumer of the events left.
            if isinstance(error, TransferInterrupted) and error.state is State.INCOMPLETE:
                self._report_stalls()
            self._run.claim.begin_end()
            self._stop(batch.running, after_stop)
            raise
        finally:
            with suppress(EngineError, RcError):
                self.stats = self._run.rc.stats()
        self._read_log(self._run.stop_seconds)
        if batch.is_too_late:
            raise TransferInterrupted(State.INCOMPLETE)

    def pause(self, seconds: float, *, drain: bool = False) -> Iterator[Event]:
        """Wait, and yield events meanwhile.

        With `drain` wait also for jobs that were stopped and have not ended: what they log late
        must not be taken for the next jobs' words.
        """
        begun = time.monotonic()
        yield from self._wait(begun + seconds, lambda: False)
        if drain:
            yield from self._wait(begun + _DRAIN_SECONDS, self._has_drained)
        self._stopped.clear()

    def _wait(self, until: float, is_over: Callable[[], bool]) -> Iterator[Event]:
        while (left := until - time.monotonic()) > 0 and not is_over():
            self._check_interruption()
            yield from self._progress.events()
            time.sleep(min(left, _POLL_SECONDS))

    def _has_drained(self) -> bool:
        return all(job.wait(0) for job in self._stopped)

    def wait_for(self, work: Future[None]) -> Iterator[Event]:
        """Wait for work that is done elsewhere, and yield events meanwhile."""
        try:
            while not wait([work], _POLL_SECONDS).done:
                self._check_interruption()
                yield from self._progress.events()
        finally:
            work.cancel()
        work.result()

    def _read_log(self, seconds: float) -> None:
        """Wait until all that rclone has logged so far is read, at most `seconds`.

        A number of replies would not do: a probe that was given up may be answered meanwhile.
        """
        self._run.log.wait_for_marker(self._run.rc.write_log_marker(), seconds)

    def _check_interruption(self) -> None:
        if (state := self._run.context.end_state()) is not None:
            raise TransferInterrupted(state)

    def _report_stalls(self) -> None:
        """Name the files in flight that have not moved for a while: they may be why the time ran
        out.
        """
        for file, seconds in self._progress.stalls.unmoved:
            sent = "nothing" if not file.current_bytes else f"{file.current_bytes} bytes"
            text = (
                f"The time ran out while this file was copied: {sent} of it had arrived, and for "
                f"{seconds:.0f} s no more came. Look whether the file can be read at the source."
            )
            failure = Failure("storage_unreachable", text, retryable=True)
            self._run.outcomes.add_final_error(failure, file.path)
        shells = self._run.log.shells
        if shells is not None and shells.silent(STALLED_SECONDS) is not None:
            text = "The time ran out while the server's SSH shell had not answered."
            self._run.outcomes.add_final_error(Failure("storage_unreachable", text, retryable=True))

    def _stop(self, running: Sequence[tuple[RcCall, Job]], after_stop: AfterStop | None) -> None:
        """Stop the jobs and wait for their end, in which rclone removes partial uploads. No other
        transfer begins at their place meanwhile.
        """
        with self._run.claim.cleaning():
            self._stop_all(running, after_stop)

    def _stop_all(
        self, running: Sequence[tuple[RcCall, Job]], after_stop: AfterStop | None
    ) -> None:
        rc, log = self._run.rc, self._run.log
        log.begin_stopping()
        rc.limit_timeout(self._run.stop_seconds)
        stalls = self._progress.stalls
        is_idle = stalls.all_stalled_for(_IDLE_SECONDS) and not stalls.bytes_in_flight
        seconds = self._run.stop_seconds
        until = time.monotonic() + (min(seconds, _IDLE_STOP_SECONDS) if is_idle else seconds)
        with suppress(EngineError, RcError):
            files = in_flight(rc.stats())
            if not files:  # a listing, which has nothing to clean up
                until = min(until, time.monotonic() + _IDLE_STOP_SECONDS)
            rc.stop_jobs()
            for _, job in running:
                if not job.wait(max(0, until - time.monotonic())):
                    self._stopped.append(job)
                    self._run.expect_no_end()
            self._read_log(max(0, until - time.monotonic()))
            if after_stop is not None:
                after_stop({file.path: file.size for file in files if file.size is not None})


class _Batch:
    """The jobs of several calls, of which at most `at_once` run at a time."""

    def __init__(self, run: RunContext, calls: Iterable[RcCall], at_once: int) -> None:
        self._run = run
        self._waiting = iter(calls)
        self._next = next(self._waiting, None)
        self._at_once = at_once
        self._has_started = False
        self._one_is_done = threading.Event()
        self.running: list[tuple[RcCall, Job]] = []
        self.is_too_late = False
        """Whether calls were left out because there was no time for them."""

    @property
    def is_done(self) -> bool:
        """Whether no job runs and no call waits."""
        return not self.running and self._next is None

    def start_more(self) -> bool:
        """Start as many jobs as may run, and return whether any runs."""
        while len(self.running) < self._at_once and self._next is not None:
            if self._has_started and not self._run.context.may_start():
                self.is_too_late, self._next = True, None
                break
            call = self._next
            job = self._run.rc.start_job(call.name, call.parameters, self._one_is_done, call.take)
            self.running.append((call, job))
            self._has_started = True
            self._next = next(self._waiting, None)
        return bool(self.running)

    def wait(self, seconds: float) -> Iterator[tuple[RcCall, Job]]:
        """Wait until a job is done, at most `seconds`; remove and yield those that are done."""
        self._one_is_done.wait(seconds)
        self._one_is_done.clear()
        for entry in tuple(self.running):
            if entry[1].wait(0):
                self.running.remove(entry)
                yield entry
