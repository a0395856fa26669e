"""One transfer from request to result, whatever the engine and whoever listens."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from efss_transfer.engines.base import (
    Context,
    Egress,
    Endpoint,
    Engine,
    Limits,
    Report,
    TransferRequest,
)
from efss_transfer.errors import CODES
from efss_transfer.events import Event, FileDone, Finished, Started
from efss_transfer.listing import Listing
from efss_transfer.result import (
    ErrorGroup,
    FileState,
    Result,
    Sample,
    State,
    Totals,
    now,
)

_LOG: Final = logging.getLogger(__name__)

_LETTING_GO_SECONDS: Final = 3.0
_ARRIVING_SECONDS: Final = 30.0

Events = Generator[Event, None, None]


@dataclass(frozen=True)
class Terms:
    """On what terms a transfer runs: for whom, how long in seconds, and within what.

    `interrupted` is asked several times a second whether the transfer must end early.
    """

    caller: str
    duration_seconds: float
    limits: Limits
    egress: Egress
    interrupted: Callable[[], State | None] = lambda: None


def events(request: TransferRequest, engine: Engine, terms: Terms) -> Events:
    """Run a transfer; the events as they happen, the result last.

    Closing the generator cancels the transfer and returns when it is cleaned up. Raises
    EngineError if the engine could not even begin; a retry is safe then.
    """
    # Time to let go, so that the answer is there when it is wanted; and before that, time
    # for what is on its way to arrive.
    seconds = terms.duration_seconds
    deadline = time.monotonic() + seconds - min(_LETTING_GO_SECONDS, seconds / 10)
    context = Context(
        deadline=deadline,
        last_start=deadline - min(_ARRIVING_SECONDS, seconds / 10),
        interrupted=terms.interrupted,
        egress=terms.egress,
        limits=terms.limits,
    )
    label = ("" if request.id is None else f" {request.id!r}") + f" of {terms.caller!r}"
    _LOG.info(
        "transfer%s: %s to %s", label, _told_end(request.source), _told_end(request.destination)
    )
    ending = "cancelled, because nobody reads its events"
    started: Started | None = None
    counts: Counter[FileState] = Counter()
    moved = 0
    try:
        # `closing` ends the engine at once, and not when its generator is collected.
        with closing(engine.run(request, context)) as run:
            for event in run:
                if isinstance(event, Started):
                    event = started = replace(event, id=request.id)
                elif isinstance(event, FileDone):
                    counts[event.outcome.state] += 1
                    if event.outcome.state is FileState.TRANSFERRED:
                        moved += event.outcome.size or 0
                elif isinstance(event, Finished):
                    event = Finished(replace(event.result, id=request.id))
                    ending = _told(event.result)
                yield event
    except Exception as error:
        ending = f"failed by {type(error).__name__}"
        if started is None:
            raise
        # Whoever reads the events was promised a result. The error's own text is not
        # shown, nor logged: nobody knows what it quotes.
        log_defect(error)
        told = Totals(
            counts[FileState.TRANSFERRED],
            counts[FileState.SKIPPED],
            counts[FileState.FAILED],
            moved,
        )
        yield Finished(_defect(request, started, told))
    finally:
        _LOG.info("transfer%s: %s", label, ending)


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


def log_defect(error: BaseException) -> None:
    """Log where an unexpected error came from, without its text: it may hold a secret."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("a defect of the service: %s\n%s", type(error).__name__, where)


def _told_end(end: Endpoint) -> str:
    return end.type if end.storage is None else f"{end.storage!r} ({end.type})"


def _told(ended: Result) -> str:
    totals = ended.totals
    return (
        f"{ended.state.value}, {totals.transferred} transferred, {totals.skipped} skipped, "
        f"{totals.failed} failed, {totals.transferred_bytes} bytes"
    )


def _defect(request: TransferRequest, started: Started, told: Totals) -> Result:
    title = CODES["internal"].title
    return Result(
        state=State.FAILED,
        engine=request.engine,
        totals=told,
        started=started.started,
        finished=now(),
        code="internal",
        errors=(ErrorGroup("internal", None, False, 1, (Sample("", title),)),),
        id=request.id,
    )
