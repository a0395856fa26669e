"""Results of several invocations, as the one that a caller asked for.

An invocation is one request and its answer. Invocations that follow one another send the same
request, and each skips what those before it brought. Those of shards, each for a part of the
files, are brought together by `gathering`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from efss_transfer.events import Progress
from efss_transfer.result import FileOutcome, FileState, Reason, Result, Totals

# As what a file is skipped that an earlier invocation brought: which it is depends on what
# `overwrite` says.
_BROUGHT_BEFORE: Final = (Reason.SAME, Reason.EXISTS, Reason.OLDER)


def successive(earlier: Result | None, later: Result) -> Result:
    """One result of an invocation and all those before it, which were for the same request.

    Files and bytes that were copied are added up. What the later one skipped because an
    earlier one had brought it counts once, as copied. What failed is what has failed in the
    end, and so is verification.
    """
    if earlier is None:
        return later
    return replace(
        later,
        totals=_totals(earlier.totals, later.totals),
        started=earlier.started,
        attempts=earlier.attempts + later.attempts,
        files_omitted=earlier.files_omitted + later.files_omitted,
    )


def ahead(progress: Progress, before: Totals) -> Progress:
    """Progress of an invocation, with what those before it brought."""
    now = progress.totals
    return replace(
        progress,
        totals=replace(
            now,
            transferred=before.transferred + now.transferred,
            skipped=max(before.skipped, now.skipped - before.transferred),
        ),
        current_bytes=before.transferred_bytes + progress.current_bytes,
        expected_files=before.transferred + progress.expected_files,
        expected_bytes=before.transferred_bytes + progress.expected_bytes,
    )


class Outcomes:
    """What became of each file in the end, of those that `report` asks for.

    The later outcome counts; but a file that was copied, and that a later invocation then
    found to be there, was copied.
    """

    def __init__(self, report: str) -> None:
        self._report = report
        self._files: dict[str, FileOutcome] = {}

    def take(self, outcome: FileOutcome) -> None:
        """Take what became of a file."""
        if self._report == "summary":
            return
        known = self._files.get(outcome.path)
        if self._report == "errors" and outcome.state is not FileState.FAILED:
            self._files.pop(outcome.path, None)
        elif (
            known is None
            or known.state is not FileState.TRANSFERRED
            or outcome.state is not FileState.SKIPPED
        ):
            self._files[outcome.path] = outcome

    def of(self, result: Result) -> Result:
        """The result with these files."""
        if self._report == "summary":
            return replace(result, files=None)
        return replace(result, files=tuple(self._files.values()))


def _totals(earlier: Totals, later: Totals) -> Totals:
    # An invocation that ran out of time has not seen all that there is to skip, so that each
    # tells a number that is too low, or right.
    skipped = max(earlier.skipped, later.skipped - earlier.transferred)
    reasons = dict(earlier.reasons)
    if skipped > earlier.skipped:
        reasons = dict(later.reasons)
        brought = earlier.transferred
        for reason in _BROUGHT_BEFORE:
            taken = min(brought, reasons.get(reason, 0))
            reasons[reason] = reasons.get(reason, 0) - taken
            brought -= taken
    return Totals(
        earlier.transferred + later.transferred,
        skipped,
        later.failed,
        earlier.transferred_bytes + later.transferred_bytes,
        {reason: count for reason, count in reasons.items() if count},
        later.dry_run_bytes,
    )
