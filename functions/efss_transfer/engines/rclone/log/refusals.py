"""Counts what a storage refuses while files are copied, and what gets through.

rclone repeats a refused request up to ten times, and then the whole file up to ten times. After
each refusal it waits longer, at most 2 s, before any other request to that storage. The log says
each time why (fs/pacer.go, fs/operations/copy.go and reopen.go of rclone 1.75).
"""

from __future__ import annotations

import re
import time
from typing import Final

from efss_transfer.engines.rclone.log.error_codes import CANCELLED, FAILED_TO_COPY
from efss_transfer.engines.rclone.log.source_errors import RETRY

_REQUEST: Final = re.compile(r"low level retry \d+/\d+ \(error (.*)\)$", re.DOTALL)
_READ: Final = re.compile(r"Reopening on read failure after offset \d+ bytes: retry \S+: (.*)$")
_THROUGH: Final = re.compile(
    r"(?:Multi-thread )?Copied \(|Unchanged skipping|Destination .*skipping$"
)
_SIZE: Final = "size = "
_PACER: Final = "pacer"
_MOST_IN_A_ROW: Final = 64
_MANY_IN_A_ROW: Final = 8
# A file's last repetition may come after the first file that got through again.
_MANY_SECONDS: Final = 30.0
_SOURCE: Final = "error reading source: "


class Refusals:
    """The refusals of a transfer. The thread that reads the log takes the lines; the thread that
    drives the transfer reads the rest.
    """

    def __init__(self) -> None:
        self.count = 0
        """Number of refusals."""
        self.through = 0
        """Number of files that were copied, or needed no copy."""
        self.answered = 0
        """Number of files that failed at their first request, such as a name that is too long: the
        storage is there, and rclone goes on to the next file without a pause."""
        self.last = ""
        """rclone's text for the last refusal."""
        self.of_files: dict[str, str] = {}
        """The text for the last refusal of each file that is still being copied."""
        self.in_a_row: dict[str, str] = {}
        """Some of the files that were refused since the last one got through, and the texts."""
        self._many_at = -_MANY_SECONDS

    @property
    def are_of_many(self) -> bool:
        """Whether many files are refused in a row, or were a moment ago."""
        return time.monotonic() - self._many_at < _MANY_SECONDS

    def begin_attempt(self) -> None:
        """Forget the files of the attempt before."""
        self.of_files = {}

    def take(self, message: str, name: str) -> None:
        """Take a line of the log."""
        if message.startswith(_SIZE):
            return  # of each file that is compared
        if name == _PACER:
            if refused := _REQUEST.match(message):
                self._add(refused[1])
        elif refused := RETRY.match(message):
            cut_off = self.of_files.get(name, "")
            # The destination says only that its upload ended early.
            is_cut_off = cut_off.startswith(_SOURCE)
            self._add(cut_off if is_cut_off else refused[1], name)
        elif refused := _READ.match(message):
            self._add(f"{_SOURCE}{refused[1]}", name)
        elif _THROUGH.match(message):
            self.through += 1
            self.in_a_row = {}
            self.of_files.pop(name, None)
        elif message.startswith(FAILED_TO_COPY) and self.of_files.pop(name, None) is None:
            self.answered += 1

    def _add(self, text: str, name: str = "") -> None:
        if CANCELLED in text:
            return  # a request of the attempt before, which was stopped
        self.last = text
        if name:
            self.of_files[name] = text
            if len(self.in_a_row) < _MOST_IN_A_ROW:
                self.in_a_row[name] = text
            if len(self.in_a_row) >= _MANY_IN_A_ROW:
                self._many_at = time.monotonic()
        self.count += 1
