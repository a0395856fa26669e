"""Why a file's source could not be read to its end, which the error itself does not tell.

rclone reads and writes a file at once, and what it says of a source that breaks off in the
middle is what the destination's client says: that its upload came to no end. The true cause
stands in its log at DEBUG alone (fs/operations/reopen.go, copy.go of rclone 1.75).
"""

from __future__ import annotations

import re
from typing import Final

# It reads on where it was cut off, and tells so; and then that it gave that up.
_CUT_OFF: Final = re.compile(r"Reopening on read failure after offset \d+ bytes: retry \S+: ")
_GIVEN_UP: Final = re.compile(r"Reopen failed after offset \d+ bytes read: ")
_AGAIN: Final = re.compile(r"Received error: (.*) - low level retry \d+/\d+$", re.DOTALL)
_TOO_MANY: Final = "failed to reopen: too many retries"


class SourceErrors:
    """What was said of the sources of the files that are being copied."""

    def __init__(self) -> None:
        self._cut_off: dict[str, str] = {}
        self._given_up: dict[str, str] = {}
        self._tried: dict[str, tuple[str, str]] = {}

    def take(self, message: str, name: str) -> None:
        """Take a message about a file."""
        if said := _CUT_OFF.match(message):
            self._cut_off[name] = message[said.end() :]
        elif said := _GIVEN_UP.match(message):
            reason = message[said.end() :]
            first = self._cut_off.get(name)
            self._given_up[name] = first if first and reason == _TOO_MANY else reason
        elif said := _AGAIN.match(message):
            # The file is begun anew; if that was the last time, this is what it fails with.
            self._cut_off.pop(name, None)
            reason = self._given_up.pop(name, "")
            self._tried[name] = (said[1], reason)

    def end(self, name: str, error: str = "") -> str:
        """A file is done, or failed with an error: what its source failed with, if it did."""
        self._cut_off.pop(name, None)
        reason = self._given_up.pop(name, "")
        tried, before = self._tried.pop(name, ("", ""))
        return reason or (before if error == tried else "")
