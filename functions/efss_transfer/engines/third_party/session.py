"""One run that directs copies between two WebDAV storages: its ends, attempts, events and result.

An engine says in a subclass how an attempt copies. Everything that it awaits runs in the event
loop of the run's guard; the thread that drives the run yields the events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from efss_transfer.config.settings import Settings
from efss_transfer.egress.proxy import Guard, guard
from efss_transfer.engines.base import Context
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.retry import RetrySchedule
from efss_transfer.engines.sharding import select_shard
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.engines.third_party.checking import FileChecks
from efss_transfer.engines.third_party.ends import End
from efss_transfer.model.events import Event, FileDone, InFlight, Phase, Progress
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Json, Result, Side, State, final_state, utc_now
from efss_transfer.webdav.http.connections import Connections

_POLL_SECONDS: Final = 0.25
_PROGRESS_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 1.0
CLEANUP_SECONDS: Final = 1.8
_MOST_PATIENCE: Final = 60.0


class Interrupted(Exception):
    """The run must end now, in this state. `code` is that of the result if it is another one."""

    def __init__(self, state: State, code: str | None = None) -> None:
        super().__init__(state.value)
        self.state = state
        self.code = code


class Attempts(Protocol):
    """How an engine copies. All but `attempt` may be read by any thread."""

    @property
    def is_cut_short(self) -> bool:
        """Whether files were not begun because the time was nearly over."""

    @property
    def has_passed_over(self) -> bool:
        """Whether files were not begun in this attempt because of failures of others."""

    @property
    def expected_files(self) -> int:
        """How many files need copying, as far as it is known."""

    @property
    def expected_bytes(self) -> int:
        """The size of these files."""

    @property
    def moved_before(self) -> int:
        """Bytes of the files that have arrived."""

    @property
    def in_flight(self) -> tuple[InFlight, ...]:
        """The files that are being copied."""

    async def attempt(self, paths: tuple[str, ...] | None) -> None:
        """Copy all selected files, or those of an attempt before. Failures go to the outcomes."""


class DirectedSession:
    """One run. Within `cleaned_up` call `connect`, then `copy`; after it `result`.

    `connects_to` names what this service itself connects to, each by rules of its own.
    """

    connects_to: tuple[str, ...] = tuple(side.value for side in Side)

    def __init__(self, settings: Settings, request: TransferRequest, context: Context) -> None:
        self.started = utc_now()
        self._settings = settings
        self._request = replace(request, selection=select_shard(request.selection))
        self._context = context
        self._outcomes = FileOutcomes()
        self._redactor = Redactor(request.source.secrets | request.destination.secrets)
        self._state: State | None = None
        self._code: str | None = None
        self._attempt = 1
        self._reported = time.monotonic()
        self._is_connected = False
        self._open: list[Connections] = []

    def _attempts(self) -> Attempts:
        """Prepare the copying, once both ends are. Nothing is sent yet."""
        raise NotImplementedError

    def _end_copies(self) -> None:
        """Undo what must not stay when the run ends, as far as there is time."""
        raise NotImplementedError

    def _report(self) -> Mapping[str, Json]:
        """The engine's own member of the result."""
        raise NotImplementedError

    @contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """End copies that are under way, and close all connections.

        An interruption that ends the block becomes the outcome of the run.
        """
        egress = self._context.egress
        with ExitStack() as stack:
            users = {name: egress.of(name).permits for name in self.connects_to}
            self._guard: Guard = stack.enter_context(guard(egress.permits, users))
            stack.callback(self._close_connections)
            stack.callback(self._end_copies)
            try:
                yield
            except Interrupted as interruption:
                self._state, self._code = interruption.state, interruption.code
            finally:
                self._outcomes.close()
        if self._is_connected:
            self._add_warnings()

    def connect(self) -> None:
        """Prepare both ends. Nothing is sent yet."""
        began = time.monotonic()
        self._source = self._end(Side.SOURCE)
        self._destination = self._end(Side.DESTINATION)
        listed = {file.path: file for file in self._request.selection.files or ()}
        self._checks = FileChecks(self._source, self._destination, self._request.options, listed)
        self._copying = self._attempts()
        self._is_connected = True
        self._context.observer.booted(time.monotonic() - began)

    def copy(self) -> Generator[Event, None, None]:
        """Copy, in as many attempts as are needed and allowed."""
        attempts = 1 if self._request.options.dry_run else self._request.options.attempts
        schedule = RetrySchedule(attempts, self._settings.retry_seconds, self._context)
        paths: tuple[str, ...] | None = None
        while True:
            self._context.observer.attempt(self._attempt)
            self._outcomes.begin_attempt(last=schedule.is_last(), expected=paths or ())
            yield from self._run(partial(self._copying.attempt, paths))
            if self._copying.is_cut_short:
                raise Interrupted(State.INCOMPLETE)
            failures = self._outcomes.held_back_failures
            if not failures or (seconds := schedule.after(failures)) is None:
                break
            paths = self._outcomes.files_to_retry
            if self._copying.has_passed_over:
                paths = None
            yield from self._wait(seconds)
            self._attempt += 1

    def result(self, engine: str) -> Result:
        """The result, once the run has ended."""
        totals, errors = self._outcomes.totals, self._outcomes.errors
        state = self._state or final_state(totals, errors)
        code = None if state is State.SUCCEEDED else state.value
        if state is State.FAILED:
            code = errors[0].code
        return Result(
            state=state,
            engine=engine,
            totals=totals,
            started=self.started,
            finished=utc_now(),
            code=self._code or code,
            errors=errors,
            attempts=self._attempt,
            verification=self._checks.verification() if self._is_connected else None,
            warnings=self._outcomes.warnings,
            engine_report=self._report() if self._is_connected else {},
        )

    def _end(self, side: Side) -> End:
        endpoint = self._request.source if side is Side.SOURCE else self._request.destination
        stall_seconds = self._settings.rclone.stall_seconds
        end = End(
            side,
            endpoint,
            SideRoute(self._guard, side.value, self._context.egress.of(side.value), None),
            self._redactor,
            stall_seconds=stall_seconds,
            patience=min(stall_seconds / 2, _MOST_PATIENCE),
        )
        self._open.append(end.connections)
        return end

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Generator[Event, None, None]:
        """Run a coroutine, and yield events meanwhile."""
        future = self._guard.start(work)
        try:
            while not future.done():
                if (state := self._context.end_state()) is not None:
                    raise Interrupted(state)
                wait_for([future], _POLL_SECONDS)
                yield from self.file_events()
                yield from self._progress(Phase.COPYING)
        finally:
            if not future.done():
                future.stop()
                wait_for([future], _STOP_SECONDS)
        with suppress(CancelledError):
            future.result()
        yield from self.file_events()

    def _wait(self, seconds: float) -> Generator[Event, None, None]:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if (state := self._context.end_state()) is not None:
                raise Interrupted(state)
            time.sleep(min(left, _POLL_SECONDS))
            yield from self._progress(Phase.WAITING)

    def file_events(self) -> Iterator[FileDone]:
        """The outcomes of files since the last call."""
        for outcome in self._outcomes.drain():
            yield FileDone(outcome)

    def _progress(self, phase: Phase) -> Iterator[Progress]:
        now = time.monotonic()
        if now - self._reported < _PROGRESS_SECONDS:
            return
        self._reported = now
        in_flight = self._copying.in_flight
        moved = self._copying.moved_before + sum(file.current_bytes for file in in_flight)
        elapsed = max((utc_now() - self.started).total_seconds(), _POLL_SECONDS)
        yield Progress(
            self._outcomes.totals,
            moved,
            self._copying.expected_files,
            self._copying.expected_bytes,
            moved / elapsed,
            phase=phase,
            attempt=self._attempt,
            in_flight=in_flight,
        )

    def _close_connections(self) -> None:
        for connections in self._open:
            self._guard.call_soon(connections.close)

    def _add_warnings(self) -> None:
        for code, warned in self._destination.session.record.warnings.items():
            for path, text in warned.samples:
                self._outcomes.warn(code, path, text)
        if by_size := self._checks.checked.by_size:
            text = "The storages tell no checksum of one kind for these files."
            self._outcomes.warn("compared_by_size", "", text, by_size)
