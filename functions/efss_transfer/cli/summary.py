"""Summarize a transfer: its totals, and a table of its failures."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efss_transfer.cli.formatting import duration, files, printable, size
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import ErrorGroup, FileOutcome, Reason, Result, State, WarningGroup

RUN_AGAIN: Final = "To continue, run the same command again."
RUN_SHARDS_AGAIN: Final = "To continue, run the incomplete shards again, and merge again."

STILL_RUNNING: Final = (
    "The storages go on copying. The same arguments after `efss-transfer status` tell how far."
)

MAX_NAMES: Final = 20
"""How many files a dry run names: they fit into a terminal."""

_AVERAGED_SECONDS: Final = 10

_STATES: Final = {
    State.SUCCEEDED: "Copy complete.",
    State.PARTIAL: "Some files were not copied.",
    State.INCOMPLETE: "Copy incomplete: the time limit was reached.",
    State.FAILED: "Copy failed.",
    State.CANCELLED: "Copy cancelled.",
}
# What to do about a transfer that could not begin, by the code.
_ADVICE: Final = {
    "storage_unreachable": "Check the host and the port of that side's address.",
    "authentication_failed": "Check the user, and the password, token or key, of that side.",
    "permission_denied": "Ask the owner of that side for the right, or take another folder.",
    "source_not_found": "Check the path: efss-transfer ls shows what is in a folder.",
    "destination_not_found": "Check the bucket's name: efss-transfer ls shows all buckets. "
    "--create-bucket makes a missing one.",
    "quota_exceeded": "Free space at the destination, then run the same command again.",
}
_OPTION: Final = re.compile(r"`options\.(\w+)`( to `(\w+)`)?")
_CAN_CONTINUE: Final = (State.INCOMPLETE, State.CANCELLED)
_REASONS: Final = {
    Reason.SAME: "unchanged",
    Reason.OLDER: "newer at the destination",
    Reason.EXISTS: "already at the destination",
    Reason.DRY_RUN: "dry run",
}


def show(
    result: Result,
    invocations: int,
    advice: str = RUN_AGAIN,
    would_copy: Sequence[FileOutcome] = (),
) -> None:
    """Write the summary to stdout.

    `advice` says how to continue an incomplete transfer. `would_copy` are the first files that a
    dry run would have copied.
    """
    for line in lines(result, invocations, advice):
        _write(line)
    for line in _names(would_copy, result.totals.reasons.get(Reason.DRY_RUN, 0)):
        _write(line)
    if result.errors:
        console = Console(highlight=False)
        if console.is_terminal:
            console.print(_table(result.errors))
        else:
            for line in _failures(result.errors):
                _write(line)
        for line in _advice(result.errors):
            _write(line)
    for line in _warnings(result.warnings):
        _write(line)


def lines(result: Result, invocations: int, advice: str) -> Iterator[str]:
    """The sentences of the summary, without failures and warnings."""
    totals = result.totals
    seconds = (result.finished - result.started).total_seconds()
    times = f", {invocations} invocations" if invocations > 1 else ""
    would_copy = totals.reasons.get(Reason.DRY_RUN, 0)
    advice = advice if result.state in _CAN_CONTINUE else ""
    if result.is_still_running:
        yield STILL_RUNNING
    else:
        yield f"{_STATES[result.state]} {advice}".rstrip()
    yield (
        f"{files(totals.transferred)} copied, {size(totals.transferred_bytes)}, "
        f"in {duration(seconds)}{_average(totals.transferred_bytes, seconds)}{times}; "
        f"{totals.skipped:,} skipped, {totals.failed:,} failed."
    )
    if would_copy:
        yield f"Dry run: {files(would_copy)}, {size(totals.dry_run_bytes)}, would be copied."
    skipped = [
        f"{count:,} {_REASONS[reason]}"
        for reason, count in totals.reasons.items()
        if count and reason is not Reason.DRY_RUN
    ]
    if skipped:
        yield f"Skipped: {', '.join(skipped)}."
    if (seen := result.verification) is not None:
        by = seen.mode.value + (f" ({seen.hash})" if seen.hash else "")
        yield (
            f"Verified by {by}: {files(seen.checked)} checked, {seen.differing:,} different, "
            f"{seen.missing:,} missing."
        )


def _average(count: int, seconds: float) -> str:
    """The average speed, of a copy that was long enough to have one."""
    return f" ({size(count / seconds)}/s)" if count and seconds >= _AVERAGED_SECONDS else ""


def _names(would_copy: Sequence[FileOutcome], count: int) -> Iterator[str]:
    for outcome in sorted(would_copy, key=lambda outcome: outcome.path):
        known = "" if outcome.size is None else f" ({size(outcome.size)})"
        yield f"  {printable(outcome.path)}{known}"
    if would_copy and (more := count - len(would_copy)) > 0:
        yield f"  and {more:,} more: --report FILE or --json names all."


def _table(errors: tuple[ErrorGroup, ...]) -> Table:
    table = Table(title="Failures", title_justify="left")
    table.add_column("Files", justify="right")
    table.add_column("Error", overflow="fold")
    table.add_column("Path", overflow="fold")
    table.add_column("Message", overflow="fold", ratio=1)
    for group in errors:
        of_files = "" if _is_of_transfer(group) else f"{group.count:,}"
        count, error = Text(of_files), Text(_error(group))
        for sample in group.samples:
            table.add_row(
                count,
                error,
                Text(printable(sample.path)),
                Text(with_option(printable(sample.message))),
            )
            count, error = Text(), Text()
        if (more := group.count - len(group.samples)) > 0:
            table.add_row(count, error, Text(f"and {more:,} more"), Text())
        table.add_section()
    return table


def _failures(errors: tuple[ErrorGroup, ...]) -> Iterator[str]:
    for group in errors:
        count = "" if _is_of_transfer(group) else f"{files(group.count)}, "
        yield f"failed: {count}{_error(group)}"
        yield from _samples(group)


def _advice(errors: tuple[ErrorGroup, ...]) -> Iterator[str]:
    codes = dict.fromkeys(group.code for group in errors if _is_of_transfer(group))
    yield from (_ADVICE[code] for code in codes if code in _ADVICE)


def _is_of_transfer(group: ErrorGroup) -> bool:
    """Return whether a failure is of the whole transfer and not of a file."""
    return group.count == 1 and not any(sample.path for sample in group.samples)


def _warnings(warnings: tuple[WarningGroup, ...]) -> Iterator[str]:
    for group in warnings:
        cases = "1 case" if group.count == 1 else f"{group.count:,} cases"
        yield f"warning: {printable(group.code)} ({cases}): {with_option(printable(group.message))}"
        yield from _samples(group)


def _samples(group: ErrorGroup | WarningGroup) -> Iterator[str]:
    for sample in group.samples:
        path = f"{printable(sample.path)}: " if sample.path else ""
        yield f"  {path}{with_option(printable(sample.message))}"
    # A text without a path is about all cases.
    is_about_all = group.samples and not any(sample.path for sample in group.samples)
    if not is_about_all and (more := group.count - len(group.samples)) > 0:
        yield f"  and {more:,} more"


def with_option(text: str) -> str:
    """Name the command's option beside each option of a request that a text names."""
    return _OPTION.sub(
        lambda found: (
            f"{found[0]} (--{found[1].replace('_', '-')}{f' {found[3]}' if found[3] else ''})"
        ),
        text,
    )


def _error(group: ErrorGroup) -> str:
    """Return the code, the side, the title, and whether a retry can help."""
    side = f" at the {group.side.value}" if group.side else ""
    retry = "; temporary" if group.retryable else ""
    known = CODES.get(group.code)
    return f"{printable(group.code)}{side}" + (f" ({known.title.lower()}{retry})" if known else "")


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def warn(text: str) -> None:
    """Write a warning or an error to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
