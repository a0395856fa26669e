"""The outcome of each file, over several invocations of one request."""

from __future__ import annotations

from dataclasses import replace

from efss_transfer.model.result import FileOutcome, FileState, Result


class ReportedFiles:
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
