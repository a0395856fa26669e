"""The outcome of each file, over several invocations of one request."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from efss_transfer.model.result import FileOutcome, FileState, Result


class ReportedFiles:
    """The final outcome of each file that `report` asks for.

    A later outcome replaces an earlier one, except that a file which one invocation copied and a
    later one skipped counts as copied.
    """

    def __init__(self, report: str) -> None:
        self._report = report
        self._files: dict[str, FileOutcome] = {}

    def add(self, outcome: FileOutcome) -> None:
        """Record the outcome of a file in one invocation."""
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

    def outcomes(self) -> Collection[FileOutcome]:
        """Return the outcomes, in the order in which the files were first reported."""
        return self._files.values()

    def added_to(self, result: Result) -> Result:
        """Return the result with these files."""
        if self._report == "summary":
            return replace(result, files=None)
        return replace(result, files=tuple(self._files.values()))
