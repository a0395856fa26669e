"""Progress of a whole transfer, from that of its invocations and shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from efss_transfer.client.totals import total
from efss_transfer.model.events import Phase, Progress, Wait
from efss_transfer.model.result import Result, Totals


def after_earlier(progress: Progress, before: Totals) -> Progress:
    """Add to an invocation's progress the totals of the invocations before it."""
    current = progress.totals
    return replace(
        progress,
        totals=replace(
            current,
            transferred=before.transferred + current.transferred,
            # What the invocation skips includes the files that earlier ones copied.
            skipped=max(before.skipped, current.skipped - before.transferred),
        ),
        current_bytes=before.transferred_bytes + progress.current_bytes,
        expected_files=before.transferred + progress.expected_files,
        expected_bytes=before.transferred_bytes + progress.expected_bytes,
    )


def of_shards(shards: Sequence[Progress]) -> Progress:
    """Add up the progress of shards that run at the same time, ended ones included."""
    phases = {progress.phase for progress in shards}
    left = [progress.eta_seconds for progress in shards if progress.eta_seconds is not None]
    return Progress(
        totals=total(progress.totals for progress in shards),
        current_bytes=sum(progress.current_bytes for progress in shards),
        expected_files=sum(progress.expected_files for progress in shards),
        expected_bytes=sum(progress.expected_bytes for progress in shards),
        speed=sum(progress.speed for progress in shards),
        eta_seconds=max(left, default=None),
        phase=Phase.COPYING if Phase.COPYING in phases else shards[0].phase,
        attempt=max(progress.attempt for progress in shards),
        in_flight=tuple(file for progress in shards for file in progress.in_flight),
        waiting=_longest(shards),
    )


def at_end(progress: Progress, result: Result) -> Progress:
    """Return the progress of a shard that has ended with this result."""
    return replace(
        progress,
        totals=result.totals,
        current_bytes=result.totals.transferred_bytes,
        speed=0.0,
        eta_seconds=None,
        in_flight=(),
        waiting=None,
    )


def _longest(shards: Sequence[Progress]) -> Wait | None:
    waits = (progress.waiting for progress in shards)
    return max(filter(None, waits), key=lambda wait: wait.seconds or 0.0, default=None)
