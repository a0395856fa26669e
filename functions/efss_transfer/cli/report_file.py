"""Write the outcome of each file to the file of `--report`, as CSV or as lines of JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from efss_transfer.client.outcomes import ReportedFiles
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.events import Event, FileDone
from efss_transfer.model.result import FileOutcome

_JSON_LINES: Final = (".jsonl", ".ndjson")
_COLUMNS: Final = (
    "path",
    "state",
    "reason",
    "bytes",
    "code",
    "side",
    "retryable",
    "message",
)


class ReportFile:
    """Collects the final outcome of each file, over all invocations, and writes them at the end.

    Raises click.UsageError if the file's name has no known suffix, or it cannot be written.
    """

    def __init__(self, file: Path) -> None:
        if file.suffix not in (".csv", *_JSON_LINES):
            raise click.UsageError(
                f"--report {file}: the name must end in .csv, or in .jsonl for lines of JSON."
            )
        try:
            # Before the copy, which may take days: a report must not fail after it.
            file.touch()
        except OSError as error:
            raise click.UsageError(
                f"--report {file} cannot be written ({error.strerror})."
            ) from None
        self._file = file
        self._files = ReportedFiles("all")

    def event(self, event: Event) -> None:
        """Take an event of the transfer."""
        if isinstance(event, FileDone):
            self._files.add(event.outcome)

    def write(self) -> None:
        """Write the outcomes, in the order in which the files were first reported."""
        outcomes = self._files.outcomes()
        try:
            if self._file.suffix == ".csv":
                _write_csv(self._file, outcomes)
            else:
                with self._file.open("wb") as opened:
                    opened.writelines(
                        encode_json(outcome.to_json()) + b"\n" for outcome in outcomes
                    )
        except OSError as error:
            click.echo(f"warning: {self._file} cannot be written ({error.strerror}).", err=True)


def _write_csv(file: Path, outcomes: Iterable[FileOutcome]) -> None:
    # As in RFC 4180, with surrogates of names that are no UTF-8 kept apart.
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(_COLUMNS)
        for outcome in outcomes:
            writer.writerow(_row(outcome))


def _row(outcome: FileOutcome) -> list[str]:
    error = outcome.error
    row = [
        outcome.path,
        outcome.state.value,
        outcome.reason.value if outcome.reason else "",
        "" if outcome.size is None else str(outcome.size),
    ]
    if error is None:
        return [*row, "", "", "", ""]
    side = error.side.value if error.side else ""
    return [*row, error.code, side, str(error.retryable).lower(), error.message]
