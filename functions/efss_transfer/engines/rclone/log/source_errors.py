"""Why rclone could not read a file's source to its end, which the final error does not say.

rclone reads and writes a file at the same time. If the source breaks off in the middle, rclone
reports the error of the destination's client: its upload was incomplete. The true cause is only
in the DEBUG log (fs/operations/reopen.go and copy.go of rclone 1.75).
"""

from __future__ import annotations

import re
from typing import Final

# rclone resumes reading where the source broke off, and logs that; then it may give up.
_INTERRUPTED: Final = re.compile(r"Reopening on read failure after offset \d+ bytes: retry \S+: ")
_GIVEN_UP: Final = re.compile(r"Reopen failed after offset \d+ bytes read: ")
RETRY: Final = re.compile(r"Received error: (.*) - low level retry \d+/\d+$", re.DOTALL)
_TOO_MANY: Final = "failed to reopen: too many retries"


class SourceErrors:
    """Read errors of the sources of the files that are being copied."""

    def __init__(self) -> None:
        self._interrupted: dict[str, str] = {}
        self._given_up: dict[str, str] = {}
        self._retried: dict[str, tuple[str, str]] = {}

    def record(self, message: str, path: str) -> None:
        """Record a log message about a file."""
        if match := _INTERRUPTED.match(message):
            self._interrupted[path] = message[match.end() :]
        elif match := _GIVEN_UP.match(message):
            reason = message[match.end() :]
            first = self._interrupted.get(path)
            self._given_up[path] = first if first and reason == _TOO_MANY else reason
        elif match := RETRY.match(message):
            # The file starts anew. If this was the last retry, the copy fails with this error.
            self._interrupted.pop(path, None)
            reason = self._given_up.pop(path, "")
            self._retried[path] = (match[1], reason)

    def pop(self, path: str, error: str = "") -> str:
        """The read error behind a file's final error, and forget the file; empty if none."""
        self._interrupted.pop(path, None)
        reason = self._given_up.pop(path, "")
        retried_error, retried_reason = self._retried.pop(path, ("", ""))
        return reason or (retried_reason if error == retried_error else "")
