"""The files that a transfer writes beside the terminal: `--result`, `--report`, `--log-file`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import click

from efss_transfer.cli.log_file import LogFile
from efss_transfer.cli.options import ServiceOptions
from efss_transfer.cli.report_file import ReportFile
from efss_transfer.client import merge
from efss_transfer.client.resume import Resumed
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.events import Event
from efss_transfer.model.result import Result

_RESULT_BYTES: Final = 4095  # and the line's end: a Pod's termination message has no more


class OutputFiles:
    """Takes what happens in a transfer. Raises click.UsageError if a file cannot be written."""

    def __init__(self, service: ServiceOptions) -> None:
        self._service = service
        self._report = None if service.report is None else ReportFile(service.report)
        self._log = None if service.log_file is None else LogFile(service.log_file)

    def event(self, event: Event) -> None:
        """Take an event."""
        if self._report is not None:
            self._report.event(event)
        if self._log is not None:
            self._log.event(event)

    def resumed(self, resumed: Resumed) -> None:
        """Take why the request is sent again."""
        if self._log is not None:
            self._log.resumed(resumed)

    def end(self, result: Result | None, lines: Iterable[str]) -> None:
        """Write the result, the outcomes of files, and the last lines of the log."""
        if result is not None:
            self._write_result(result)
        if self._report is not None:
            self._report.write()
        if self._log is not None:
            for line in lines:
                self._log.line(line)

    def _write_result(self, result: Result) -> None:
        file, shard = self._service.result, self._service.shard
        if file is None:
            return
        if shard is not None:
            result = replace(result, shard=shard)
        try:
            # Written in place, not renamed to: a Pod's termination message is a mount.
            file.write_bytes(encode_json(merge.short(result, _RESULT_BYTES).to_json()) + b"\n")
        except OSError as error:
            click.echo(f"warning: {file} cannot be written ({error.strerror}).", err=True)
