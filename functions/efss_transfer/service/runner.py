"""One transfer from request to result, whatever the engine and whoever listens."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import Context, Engine
from efss_transfer.model.errors import CODES, EfssTransferError
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import Endpoint, Limits, Report, TransferRequest
from efss_transfer.model.result import (
    ErrorGroup,
    FileState,
    Json,
    Result,
    Sample,
    State,
    Totals,
    now,
)
from efss_transfer.service import logs
from efss_transfer.service.file_report import Listing
from efss_transfer.service.metrics import Metrics

if TYPE_CHECKING:
    from efss_transfer.service.webhook import Notify

_LOG: Final = logging.getLogger(__name__)

_LETTING_GO_SECONDS: Final = 3.0
_ARRIVING_SECONDS: Final = 30.0

Events = Generator[Event, None, None]


@dataclass(frozen=True)
class RunParameters:
    """On what terms a transfer runs: for whom, how long in seconds, and within what.

    `interrupted` is asked several times a second whether the transfer must end early.
    `notify` tells somebody how it ended. `about` stands in each line of the log, and has
    the transfer's own random name.
    """

    caller: str
    duration_seconds: float
    limits: Limits
    egress: Egress
    interrupted: Callable[[], State | None] = lambda: None
    notify: Notify | None = None
    metrics: Metrics = field(default_factory=Metrics)
    about: logs.About = field(default_factory=dict)


def deadline(began: float, seconds: float) -> float:
    """When a run must end that began then and may take so long: there must be time to let go."""
    return began + seconds - min(_LETTING_GO_SECONDS, seconds / 4)


def events(request: TransferRequest, engine: Engine, terms: RunParameters) -> Events:
    """Run a transfer; the events as they happen, the result last.

    Closing the generator cancels the transfer and returns when it is cleaned up. Raises
    EngineError if the engine could not even begin; a retry is safe then. Whom the request
    wants to be notified is told of every transfer that began, before its result is.
    """
    run = _TransferRun(request, terms)
    # Time to let go and to notify, so that the answer is there when it is wanted; and before
    # that, time for what is on its way to arrive.
    seconds = terms.duration_seconds - run.notify_seconds
    until = deadline(run.began, seconds)
    context = Context(
        deadline=until,
        last_start=until - min(_ARRIVING_SECONDS, seconds / 10),
        interrupted=terms.interrupted,
        egress=terms.egress,
        limits=terms.limits,
        observer=run,
    )
    with run.logged():
        try:
            # `closing` ends the engine at once, and not when its generator is collected.
            with closing(engine.run(request, context)) as running:
                for event in running:
                    yield run.taken(event)
        except GeneratorExit:
            run.left()
            raise
        except Exception as error:
            if run.started is None:
                raise
            # Whoever reads the events was promised a result. The error's own text is not
            # shown, nor logged: nobody knows what it quotes.
            log_defect(error, terms.about)
            if run.ended is None:
                yield run.taken(Finished(run.result(State.FAILED, "internal")))


class _TransferRun:
    """What is known of a transfer while it runs, for whoever must be told how it ends.

    It is the engine's observer, too.
    """

    def __init__(self, request: TransferRequest, terms: RunParameters) -> None:
        self.began = time.monotonic()
        self.started: Started | None = None
        self.ended: Result | None = None
        self.notify_seconds = 0.0
        if terms.notify is not None:
            from efss_transfer.service.webhook import SECONDS

            self.notify_seconds = min(SECONDS, terms.duration_seconds / 2)
        self._request = request
        self._terms = terms
        self._label = ("" if request.id is None else f" {request.id!r}") + f" of {terms.caller!r}"
        self._counts: Counter[FileState] = Counter()
        self._moved = 0

    def booted(self, seconds: float) -> None:
        """As the protocol `Observer` says."""
        self._terms.metrics.booted(self._request.engine, seconds)

    def attempt(self, number: int) -> None:
        """As the protocol `Observer` says."""
        self._log("transfer.attempt", f"attempt {number}", attempt=number)

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Count and log what happens within the block as one transfer."""
        source, destination = self._request.source, self._request.destination
        self._log("transfer.started", f"{_told_end(source)} to {_told_end(destination)}")
        with self._terms.metrics.running():
            try:
                yield
            except Exception as error:
                # It could not even begin; the caller is told by an answer of its own.
                code = error.code if isinstance(error, EfssTransferError) else "internal"
                self._finish(self.result(State.FAILED, code), f"failed by {type(error).__name__}")
                raise

    def taken(self, event: Event) -> Event:
        """The event as it is told to whoever listens."""
        if isinstance(event, Started):
            event = self.started = replace(event, id=self._request.id)
        elif isinstance(event, FileDone):
            self._counts[event.outcome.state] += 1
            if event.outcome.state is FileState.TRANSFERRED:
                self._moved += event.outcome.size or 0
        elif isinstance(event, Finished):
            shard = self._request.selection.shard
            ended = self._notified(replace(event.result, id=self._request.id, shard=shard))
            self._finish(ended, _told(ended))
            event = Finished(ended)
        return event

    def left(self) -> None:
        """Nobody reads the events any more: the engine has been stopped."""
        if self.ended is None:
            ended = self.result(State.CANCELLED, "cancelled")
            if self.started is not None:
                ended = self._notified(ended)
            self._finish(ended, "cancelled, because nobody reads its events")

    def result(self, state: State, code: str) -> Result:
        """A result where the engine gave none, as far as it can be known."""
        known = CODES[code]
        counts = self._counts
        return Result(
            state=state,
            engine=self._request.engine,
            totals=Totals(
                counts[FileState.TRANSFERRED],
                counts[FileState.SKIPPED],
                counts[FileState.FAILED],
                self._moved,
            ),
            started=self.started.started if self.started else now(),
            finished=now(),
            code=code,
            errors=(ErrorGroup(code, None, known.retryable, 1, (Sample("", known.title),)),),
            id=self._request.id,
            shard=self._request.selection.shard,
        )

    def _notified(self, ended: Result) -> Result:
        if self._terms.notify is None:
            return ended
        told = self._terms.notify(ended, self.notify_seconds)
        outcome = "delivered" if told.error is None else told.error.code
        self._log(
            "transfer.notified",
            f"notification {outcome}, attempts: {told.attempts}",
            outcome=outcome,
            attempts=told.attempts,
            status=told.status,
        )
        return replace(ended, notification=told)

    def _finish(self, ended: Result, told: str) -> None:
        if self.ended is not None:
            return
        self.ended = ended
        self._terms.metrics.ended(ended, self.began)
        self._log(
            "transfer.ended",
            told,
            state=ended.state.value,
            code=ended.code,
            seconds=round(time.monotonic() - self.began, 3),
        )

    def _log(self, event: str, text: str, **more: Json) -> None:
        about = logs.line(event, self._terms.about, **more)
        _LOG.info("transfer%s: %s", self._label, text, extra=about)


def result(run: Events, report: Report, most: int) -> Result:
    """The result of a run, with the files that `report` asks for.

    Only those are kept in memory while it runs, and of them as many as can be told in
    `most` bytes.
    """
    files = Listing(report, most)
    with closing(run):
        for event in run:
            if isinstance(event, FileDone):
                files.take(event.outcome)
            elif isinstance(event, Finished):
                return files.of(event.result)
    raise AssertionError("an engine ended without a result")


def log_defect(error: BaseException, about: logs.About | None = None) -> None:
    """Log where an unexpected error came from, without its text: it may hold a secret."""
    extra = logs.line("defect", about or {}, error=type(error).__name__, where=logs.where(error))
    _LOG.error("a defect of the service: %s", type(error).__name__, extra=extra)


def _told_end(end: Endpoint) -> str:
    return end.type if end.storage is None else f"{end.storage!r} ({end.type})"


def _told(ended: Result) -> str:
    totals = ended.totals
    return (
        f"{ended.state.value}, {totals.transferred} transferred, {totals.skipped} skipped, "
        f"{totals.failed} failed, {totals.transferred_bytes} bytes"
    )
