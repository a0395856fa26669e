"""Append what happens in a transfer to the file of `--log-file`, each line with its time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from efss_transfer.cli.formatting import printable
from efss_transfer.cli.progress import TextProgress
from efss_transfer.client.resume import Resumed
from efss_transfer.model.events import Event, FileDone, Started


class LogFile:
    """Appends lines to a file. Raises click.UsageError if it cannot be opened."""

    def __init__(self, file: Path) -> None:
        try:
            self._out: TextIO = file.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            text = f"--log-file {file} cannot be written ({error.strerror})."
            raise click.UsageError(text) from None
        self._file = file
        self._has_failed = False
        self._progress = TextProgress(self.line)

    def line(self, text: str) -> None:
        """Append a line. A full disk must not end a copy, so it is a warning, once."""
        moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        try:
            self._out.write(f"{moment} {text}\n")
            self._out.flush()
        except OSError as error:
            if not self._has_failed:
                click.echo(f"warning: {self._file} cannot be written ({error.strerror}).", err=True)
            self._has_failed = True

    def event(self, event: Event) -> None:
        """Append the start, the progress every ten seconds, and each failed file."""
        if isinstance(event, Started):
            self.line(f"Started by the engine {event.engine}.")
        elif isinstance(event, FileDone):
            if (error := event.outcome.error) is not None:
                side = f" at the {error.side.value}" if error.side else ""
                path, message = printable(event.outcome.path), printable(error.message)
                self.line(f"Failed: {path}: {error.code}{side}: {message}")
        else:
            self._progress.event(event)

    def resumed(self, resumed: Resumed) -> None:
        """Append why the request is sent again."""
        self._progress.resumed(resumed)
