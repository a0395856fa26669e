"""What a person is told when a transfer has ended: the totals, and a table of failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efss_transfer.cli.progress import duration, printable, size
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import ErrorGroup, Reason, Result, State

_STATES: Final = {
    State.SUCCEEDED: "Done",
    State.PARTIAL: "Some files were not copied",
    State.INCOMPLETE: "Not complete: the time ran out; the same command goes on",
    State.FAILED: "Failed",
    State.CANCELLED: "Cancelled; the same command goes on",
}
_REASONS: Final = {
    Reason.SAME: "the same",
    Reason.OLDER: "not newer",
    Reason.EXISTS: "there already",
    Reason.DRY_RUN: "only a dry run",
}


def tell(result: Result, invocations: int) -> None:
    """Write the summary to stdout."""
    for line in _lines(result, invocations):
        _say(line)
    if not result.errors:
        return
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_table(result.errors))
    else:
        for line in _failures(result.errors):
            _say(line)


def _lines(result: Result, invocations: int) -> Iterator[str]:
    totals = result.totals
    seconds = (result.finished - result.started).total_seconds()
    times = f", {invocations} invocations" if invocations > 1 else ""
    dry = totals.reasons.get(Reason.DRY_RUN, 0)
    yield f"{_STATES[result.state]}."
    yield (
        f"{totals.transferred} files copied, {size(totals.transferred_bytes)}, "
        f"in {duration(seconds)}{times}; {totals.skipped} skipped, {totals.failed} failed."
    )
    if dry:
        yield f"{dry} files, {size(totals.dry_run_bytes)}, would have been copied."
    others = [
        f"{count} {_REASONS[reason]}"
        for reason, count in totals.reasons.items()
        if count and reason is not Reason.DRY_RUN
    ]
    if others:
        yield f"Skipped: {', '.join(others)}."
    if (seen := result.verification) is not None:
        by = seen.mode.value + (f" ({seen.hash})" if seen.hash else "")
        yield (
            f"Verified by {by}: {seen.checked} files, {seen.differing} differ, "
            f"{seen.missing} are missing."
        )


def _table(errors: tuple[ErrorGroup, ...]) -> Table:
    table = Table(title="Failures", title_justify="left")
    table.add_column("Files", justify="right")
    table.add_column("What", overflow="fold")
    table.add_column("Where", overflow="fold")
    table.add_column("Why", overflow="fold", ratio=1)
    for group in errors:
        count, what = Text(str(group.count)), Text(_what(group))
        for sample in group.samples:
            table.add_row(
                count, what, Text(printable(sample.path)), Text(printable(sample.message))
            )
            count, what = Text(), Text()
        if (more := group.count - len(group.samples)) > 0:
            table.add_row(count, what, Text(f"and {more} more"), Text())
        table.add_section()
    return table


def _failures(errors: tuple[ErrorGroup, ...]) -> Iterator[str]:
    for group in errors:
        yield f"failed: {group.count} x {_what(group)}"
        for sample in group.samples:
            path = f"{printable(sample.path)}: " if sample.path else ""
            yield f"  {path}{printable(sample.message)}"
        if (more := group.count - len(group.samples)) > 0:
            yield f"  and {more} more"


def _what(group: ErrorGroup) -> str:
    """The code, the side, and what to do about it."""
    side = f" at the {group.side.value}" if group.side else ""
    retry = "; can pass by itself" if group.retryable else ""
    known = CODES.get(group.code)
    return f"{printable(group.code)}{side}" + (f" ({known.title.lower()}{retry})" if known else "")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def warn(text: str) -> None:
    """Tell a person something that is no result, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
