"""Selects the files that a JSON response lists, within the response's maximum size.

Runtimes truncate or refuse long responses (AWS Lambda at 6 MB), and no caller may fill the
memory with a list of files. So the list is bounded, and `files_omitted` counts the files left
out. Totals and error counts stay exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from efss_transfer.model.encoding import encode_json
from efss_transfer.model.request import Report
from efss_transfer.model.result import MAX_SAMPLES, FileOutcome, FileState, Json, Result

_COMMA: Final = 1


class FileReport:
    """The files that `report` asks for, in order of arrival, in at most `max_bytes` of JSON.

    A later outcome of the same path replaces the earlier one. When the report is full, a failed
    file replaces files that did not fail, because those matter less to the reader.
    """

    def __init__(self, report: Report, max_bytes: int) -> None:
        self._report = report
        self._max_bytes = max_bytes
        self._size = 0
        self._added = 0
        self._full = False
        self._failed: dict[str, tuple[int, int, FileOutcome]] = {}
        self._others: dict[str, tuple[int, int, FileOutcome]] = {}

    def add(self, outcome: FileOutcome) -> None:
        """Add the outcome of a file, if it is asked for and fits."""
        if self._report == "summary":
            return
        for entries in (self._failed, self._others):
            if outcome.path in entries:
                self._size -= entries.pop(outcome.path)[0]
        failed = outcome.state is FileState.FAILED
        if not failed and self._report == "errors":
            return
        size = _size(outcome)
        while failed and self._others and self._size + size > self._max_bytes:
            self._size -= self._others.popitem()[1][0]
            self._full = True
        if self._size + size > self._max_bytes or (self._full and not failed):
            self._full = True
            return
        self._size += size
        self._added += 1
        (self._failed if failed else self._others)[outcome.path] = (size, self._added, outcome)

    def apply_to(self, result: Result) -> Result:
        """The result with these files, in order of arrival."""
        if self._report == "summary":
            return replace(result, files=None)
        entries = [*self._failed.values(), *self._others.values()]
        files = tuple(outcome for _, _, outcome in sorted(entries, key=lambda entry: entry[1]))
        if not self._full:
            return replace(result, files=files)
        # The engine's totals count each path once; this class cannot tell whether a file that
        # it left out was reported twice.
        totals = result.totals
        expected = totals.failed
        if self._report == "all":
            expected += totals.transferred + totals.skipped
        return replace(result, files=files, files_omitted=max(1, expected - len(files)))


def fit(result: Result, max_bytes: int, document: Callable[[Result], Json]) -> Result:
    """Shorten the result until `document(result)` takes at most `max_bytes` as JSON.

    Files that did not fail are dropped first. Samples of errors and warnings are dropped only if
    they alone would take more than half of the space.
    """

    def size(candidate: Result) -> int:
        return len(encode_json(document(candidate)))

    if size(result) <= max_bytes:
        return result
    files = result.files or ()
    # Assume that every file is omitted: the largest number takes the most digits.
    omitted = result.files_omitted + len(files)
    bare = replace(result, files=None if result.files is None else (), files_omitted=omitted)
    for samples in range(MAX_SAMPLES, -1, -1):
        errors = (replace(group, samples=group.samples[:samples]) for group in result.errors)
        warnings = (replace(group, samples=group.samples[:samples]) for group in result.warnings)
        bare = replace(bare, errors=tuple(errors), warnings=tuple(warnings))
        if size(bare) <= max_bytes // 2:
            break
    space = max_bytes - size(bare)
    kept: set[int] = set()
    for failed in (True, False):
        for number, outcome in enumerate(files):
            if (outcome.state is FileState.FAILED) is failed:
                space -= _size(outcome)
                if space < 0:
                    break
                kept.add(number)
        if space < 0:
            break
    listed = tuple(outcome for number, outcome in enumerate(files) if number in kept)
    shown = None if result.files is None else listed
    return replace(bare, files=shown, files_omitted=omitted - len(listed))


def _size(outcome: FileOutcome) -> int:
    return len(encode_json(outcome.to_json())) + _COMMA
