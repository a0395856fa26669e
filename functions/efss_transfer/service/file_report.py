"""The files that an answer in JSON lists, and that the answer is no longer than it may be.

Runtimes cut or refuse a long answer (AWS Lambda at 6 MB), and a caller must not be able to
fill the memory with a list of files: so there is a bound, and what it leaves out is counted.
Totals and the counts of errors are exact whatever is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from efss_transfer.model.request import Report
from efss_transfer.model.result import SAMPLES, FileOutcome, FileState, Json, Result, encoded

_COMMA: Final = 1


class Listing:
    """The files that `report` asks for, as they are told, in at most so many bytes.

    A file that is told twice is listed as it was told last. When there is room for no
    more, a failed file takes the place of others: those can be done without.
    """

    def __init__(self, report: Report, most: int) -> None:
        self._report = report
        self._most = most
        self._size = 0
        self._taken = 0
        self._full = False
        self._failed: dict[str, tuple[int, int, FileOutcome]] = {}
        self._others: dict[str, tuple[int, int, FileOutcome]] = {}

    def take(self, outcome: FileOutcome) -> None:
        """Take what became of a file."""
        if self._report == "summary":
            return
        for kept in (self._failed, self._others):
            if outcome.path in kept:
                self._size -= kept.pop(outcome.path)[0]
        failed = outcome.state is FileState.FAILED
        if not failed and self._report == "errors":
            return
        size = _size(outcome)
        while failed and self._others and self._size + size > self._most:
            self._size -= self._others.popitem()[1][0]
            self._full = True
        if self._size + size > self._most or (self._full and not failed):
            self._full = True
            return
        self._size += size
        self._taken += 1
        (self._failed if failed else self._others)[outcome.path] = (size, self._taken, outcome)

    def of(self, result: Result) -> Result:
        """The result with these files, in the order in which they were told."""
        if self._report == "summary":
            return replace(result, files=None)
        kept = [*self._failed.values(), *self._others.values()]
        files = tuple(outcome for _, _, outcome in sorted(kept, key=lambda entry: entry[1]))
        if not self._full:
            return replace(result, files=files)
        # Counted by the engine: here nobody knows whether a file that is left out was told twice.
        totals = result.totals
        asked = totals.failed
        if self._report == "all":
            asked += totals.transferred + totals.skipped
        return replace(result, files=files, files_omitted=max(1, asked - len(files)))


def fitted(result: Result, most: int, document: Callable[[Result], Json]) -> Result:
    """The result with as much as `document`, encoded, has room for in `most` bytes.

    Failed files stay longest; of the samples of errors there are fewer if they alone would
    take more than half of the room.
    """

    def size(candidate: Result) -> int:
        return len(encoded(document(candidate)))

    if size(result) <= most:
        return result
    files = result.files or ()
    # Counted as if all were left out, because that number is the longest.
    omitted = result.files_omitted + len(files)
    bare = replace(result, files=None if result.files is None else (), files_omitted=omitted)
    for samples in range(SAMPLES, -1, -1):
        fewer = (replace(group, samples=group.samples[:samples]) for group in result.errors)
        bare = replace(bare, errors=tuple(fewer))
        if size(bare) <= most // 2:
            break
    room = most - size(bare)
    kept: set[int] = set()
    for failed in (True, False):
        for number, outcome in enumerate(files):
            if (outcome.state is FileState.FAILED) is failed:
                room -= _size(outcome)
                if room < 0:
                    break
                kept.add(number)
        if room < 0:
            break
    listed = tuple(outcome for number, outcome in enumerate(files) if number in kept)
    shown = None if result.files is None else listed
    return replace(bare, files=shown, files_omitted=omitted - len(listed))


def _size(outcome: FileOutcome) -> int:
    return len(encoded(outcome.to_json())) + _COMMA
