"""Runs one transfer from request to result, with its log lines, metrics and notification."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import Context, Engine, NullObserver
from efss_transfer.model.errors import CODES, EfssTransferError
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import Limits, Report, TransferRequest
from efss_transfer.model.result import (
    ErrorGroup,
    FileState,
    Json,
    Result,
    Sample,
    State,
    Totals,
    utc_now,
)
from efss_transfer.service import log_sentences, logs
from efss_transfer.service.file_report import FileReport
from efss_transfer.service.metrics import Metrics

if TYPE_CHECKING:
    from efss_transfer.service.webhook import Notify

_LOG: Final = logging.getLogger(__name__)

_CLEANUP_SECONDS: Final = 3.0
_COMPLETION_SECONDS: Final = 30.0

Events = Generator[Event, None, None]


@dataclass(frozen=True)
class RunParameters:
    """Who runs a transfer, and within which limits. `duration_seconds` is the whole time.

    `interrupted` is polled several times a second and returns the state in which to end early.
    `notify` sends the result to the receiver that the request names. `log_context` is part of
    every log line; its `transfer` is a random identifier of this transfer.
    """

    caller: str
    duration_seconds: float
    limits: Limits
    egress: Egress
    interrupted: Callable[[], State | None] = lambda: None
    notify: Notify | None = None
    metrics: Metrics = field(default_factory=Metrics)
    log_context: logs.LogContext = field(default_factory=dict)


class BootObserver(NullObserver):
    """An observer that records how long the engine took to boot."""

    def __init__(self, engine: str, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def booted(self, seconds: float) -> None:
        """Implements `Observer`."""
        self._metrics.observe_boot(self._engine, seconds)


def reading_context(engine: str, began: float, parameters: RunParameters) -> Context:
    """The context of a run that copies nothing, such as a survey; it began at a monotonic time."""
    return Context(
        deadline=deadline(began, parameters.duration_seconds),
        interrupted=parameters.interrupted,
        egress=parameters.egress,
        limits=parameters.limits,
        observer=BootObserver(engine, parameters.metrics),
    )


def deadline(began: float, seconds: float) -> float:
    """When a run that began at `began` and has `seconds` must stop, to leave time to clean up."""
    return began + seconds - min(_CLEANUP_SECONDS, seconds / 4)


def run(request: TransferRequest, engine: Engine, parameters: RunParameters) -> Events:
    """Run a transfer and yield its events as they happen; the result is the last one.

    Closing the generator cancels the transfer and returns after the clean-up. Raises EngineError
    if the engine could not start; a retry is safe then. The receiver of the request is notified
    of every transfer that has started, before its result is yielded.
    """
    transfer = _TransferRun(request, parameters)
    # Reserve time for the notification and the clean-up, so that the response is in time; before
    # that, time in which files under way can complete.
    seconds = parameters.duration_seconds - transfer.notify_seconds
    until = deadline(transfer.began, seconds)
    context = Context(
        deadline=until,
        last_start=until - min(_COMPLETION_SECONDS, seconds / 10),
        interrupted=parameters.interrupted,
        egress=parameters.egress,
        limits=parameters.limits,
        observer=transfer,
    )
    with transfer.recorded():
        try:
            # `closing` stops the engine now, not when the garbage collector finds its generator.
            with closing(engine.run(request, context)) as events:
                for event in events:
                    yield transfer.handled(event)
        except GeneratorExit:
            transfer.abandoned()
            raise
        except Exception as error:
            if transfer.started is None:
                raise
            # The stream has begun, so it must end with a result. The error's own text is neither
            # sent nor logged: it may quote a secret.
            log_internal_error(error, parameters.log_context)
            if transfer.ended is None:
                yield transfer.handled(Finished(transfer.result(State.FAILED, "internal")))


def collect(run: Events, report: Report, max_bytes: int) -> Result:
    """Run a transfer to its end and return the result, with the files that `report` asks for.

    At most `max_bytes` of files, as JSON, are kept in memory.
    """
    files = FileReport(report, max_bytes)
    with closing(run):
        for event in run:
            if isinstance(event, FileDone):
                files.add(event.outcome)
            elif isinstance(event, Finished):
                return files.apply_to(event.result)
    raise AssertionError("an engine ended without a result")


def log_internal_error(error: BaseException, context: logs.LogContext | None = None) -> None:
    """Log the type and the call stack of an unexpected error, but not its text.

    The text may quote a secret.
    """
    name = type(error).__name__
    extra = logs.members("defect", context or {}, error=name, where=logs.stack(error))
    _LOG.error("internal error: %s; `where` locates it in the code", name, extra=extra)


class _TransferRun:
    """The state of a running transfer: counts, log lines, metrics, notification.

    It is also the engine's observer.
    """

    def __init__(self, request: TransferRequest, parameters: RunParameters) -> None:
        self.began = time.monotonic()
        self.started: Started | None = None
        self.ended: Result | None = None
        self.notify_seconds = 0.0
        if parameters.notify is not None:
            from efss_transfer.service.webhook import SECONDS

            self.notify_seconds = min(SECONDS, parameters.duration_seconds / 2)
        self._request = request
        self._parameters = parameters
        identifier = "" if request.id is None else f" {request.id!r}"
        self._label = f"{identifier} by {parameters.caller!r}"
        self._counts: Counter[FileState] = Counter()
        self._transferred_bytes = 0

    def booted(self, seconds: float) -> None:
        """Implements `Observer`."""
        self._parameters.metrics.observe_boot(self._request.engine, seconds)

    def attempt(self, number: int) -> None:
        """Implements `Observer`."""
        self._log("transfer.attempt", f"attempt {number}", attempt=number)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Log the start, count the transfer as running, and log an engine that cannot start."""
        self._log("transfer.started", log_sentences.ends(self._request))
        with self._parameters.metrics.running():
            try:
                yield
            except Exception as error:
                # The transfer could not start: the caller gets a problem document, no result.
                code = error.code if isinstance(error, EfssTransferError) else "internal"
                result = self.result(State.FAILED, code)
                self._finish(result, f"failed before it started: {code} ({type(error).__name__})")
                raise

    def handled(self, event: Event) -> Event:
        """Keep what the event says, and return it as the caller receives it."""
        if isinstance(event, Started):
            event = self.started = replace(event, id=self._request.id)
        elif isinstance(event, FileDone):
            self._counts[event.outcome.state] += 1
            if event.outcome.state is FileState.TRANSFERRED:
                self._transferred_bytes += event.outcome.size or 0
        elif isinstance(event, Finished):
            shard = self._request.selection.shard
            ended = self._notified(replace(event.result, id=self._request.id, shard=shard))
            self._finish(ended, log_sentences.sentence(ended))
            event = Finished(ended)
        return event

    def abandoned(self) -> None:
        """Record that the client stopped reading the events; the engine has been stopped."""
        if self.ended is None:
            ended = self.result(State.CANCELLED, "cancelled")
            if self.started is not None:
                ended = self._notified(ended)
            self._finish(ended, "cancelled: the client closed the connection")

    def result(self, state: State, code: str) -> Result:
        """A result for a transfer whose engine gave none, from the events so far."""
        known = CODES[code]
        counts = self._counts
        return Result(
            state=state,
            engine=self._request.engine,
            totals=Totals(
                counts[FileState.TRANSFERRED],
                counts[FileState.SKIPPED],
                counts[FileState.FAILED],
                self._transferred_bytes,
            ),
            started=self.started.started if self.started else utc_now(),
            finished=utc_now(),
            code=code,
            errors=(ErrorGroup(code, None, known.retryable, 1, (Sample("", known.title),)),),
            id=self._request.id,
            shard=self._request.selection.shard,
        )

    def _notified(self, ended: Result) -> Result:
        if self._parameters.notify is None:
            return ended
        notification = self._parameters.notify(ended, self.notify_seconds)
        error, attempts = notification.error, notification.attempts
        outcome = "delivered" if error is None else error.code
        self._log(
            "transfer.notified",
            f"notification {outcome} after {attempts} {'attempt' if attempts == 1 else 'attempts'}",
            outcome=outcome,
            attempts=attempts,
            status=notification.status,
        )
        return replace(ended, notification=notification)

    def _finish(self, ended: Result, text: str) -> None:
        if self.ended is not None:
            return
        self.ended = ended
        self._parameters.metrics.observe_transfer(ended, self.began)
        self._log(
            "transfer.ended",
            text,
            state=ended.state.value,
            code=ended.code,
            seconds=round(time.monotonic() - self.began, 3),
            **log_sentences.members_of(ended),
        )

    def _log(self, event: str, text: str, **more: Json) -> None:
        extra = logs.members(event, self._parameters.log_context, **more)
        _LOG.info("transfer%s: %s", self._label, text, extra=extra)
