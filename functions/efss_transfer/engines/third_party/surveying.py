"""Counts what a run would copy, from the events of a dry run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace

from efss_transfer.engines.base import Context, Survey
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Reason

Run = Callable[[TransferRequest, Context], Generator[Event, None, None]]


def survey(run: Run, request: TransferRequest, context: Context) -> Generator[Event, None, Survey]:
    """Survey by a dry run: see the protocol `Engine`. No rate is measured."""
    files = size = unsized = there = 0
    largest: tuple[str, int] | None = None
    dry = replace(request, options=replace(request.options, dry_run=True))
    with closing(run(dry, context)) as events:
        for event in events:
            if isinstance(event, (Started, Progress)):
                yield event
            elif isinstance(event, FileDone) and event.outcome.reason is Reason.DRY_RUN:
                outcome = event.outcome
                files, size = files + 1, size + (outcome.size or 0)
                unsized += outcome.size is None
                if largest is None or (outcome.size or 0) > largest[1]:
                    largest = outcome.path, outcome.size or 0
            elif isinstance(event, FileDone) and event.outcome.error is None:
                there += 1
            elif isinstance(event, Finished):
                result = event.result
    seconds = (result.finished - result.started).total_seconds()
    return Survey(result, files, size, unsized, largest, there, seconds=max(seconds, 0.001))
