"""Finds in rclone's log which files a storage refuses because of their modification time."""

from __future__ import annotations

import re
from typing import Final

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.model.result import Failure

# Of an upload to SFTP, FTP and Nextcloud or ownCloud. A file that has vanished at an SFTP server
# cannot get a time either, and is not copied.
_REFUSED: Final = re.compile(
    r"Update SetModTime failed: SetModTime failed: (?!file does not exist)|SetModTime: (?=5\d\d )"
    r"|(?=X-OC-M[Tt]ime header)"
)
# Of a file that is at the destination already, with another time.
_NOT_SET: Final = re.compile(r"Failed to set modification time: (?:[A-Za-z ']*: )?")
_LONGEST: Final = 300


class RefusedTimes:
    """The files of one attempt whose copy failed for their time alone.

    The thread that reads the log adds to them; the thread that drives the transfer takes them and
    copies them without their times.
    """

    def __init__(self, outcomes: FileOutcomes) -> None:
        self._outcomes = outcomes
        self._untimed: dict[str, str] = {}
        self.can_be_left_out = False
        """Whether the destination can be written to without times."""
        self.are_left_out = False
        """Whether no file gets its time any more."""
        self.paths: dict[str, str] = {}
        """The files that are to be copied without their times, and the server's words."""
        self.has_found = False
        """Whether rclone reported an error of this attempt that concerns times alone."""

    def begin_attempt(self) -> None:
        """Forget the files of the attempt before."""
        self._untimed.clear()
        self.paths.clear()
        self.has_found = False

    def take_failure(self, path: str, text: str, failure: Failure) -> bool:
        """Take the failure of a file, and return whether its time is the cause."""
        refused = _REFUSED.search(text)
        if refused is None or failure.retryable or not self.can_be_left_out:
            return False
        if self.are_left_out or path in self._untimed:
            return False
        self.has_found = True
        self.paths[path] = _said(failure.message, _REFUSED)
        return True

    def take_line(self, message: str, path: str, failure: Failure) -> None:
        """Warn if the time of a file could not be set that is otherwise as it should be."""
        self.has_found = True
        self._warn(path, _said(f"{message[: message.index(': ')]}: {failure.message}", _NOT_SET))

    def concern(self, message: str) -> bool:
        """Whether an error says that the time of an unchanged file could not be set."""
        return _NOT_SET.match(message) is not None

    def transferred(self, path: str) -> None:
        """Warn if a file has arrived without its time."""
        said = self._untimed.pop(path, None)
        if said is not None or self.are_left_out:
            self._warn(path, said or "The server refused the times of other files.")

    def begin_without(self) -> tuple[str, ...]:
        """Return the files that are copied without their times from now on."""
        self._untimed.update(self.paths)
        self.paths.clear()
        return tuple(self._untimed)

    def _warn(self, path: str, said: str) -> None:
        self._outcomes.warn("time_not_kept", path, said)


def _said(message: str, before: re.Pattern[str]) -> str:
    found = before.search(message)
    words = message[found.end() :] if found is not None else message
    return f"The server refuses the modification time: {words[:_LONGEST]}"
