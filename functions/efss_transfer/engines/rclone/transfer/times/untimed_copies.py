"""Copies files without their times where the destination refuses those."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext

# rclone's option that leaves out the times, by backend. That of FTP leaves out the look at the
# file after its upload as well.
_WITHOUT_TIMES: Final = {
    "sftp": ",set_modtime=false",
    "ftp": ",no_check_upload=true",
    "webdav": ",vendor=other",
}
_MOST_REFUSED: Final = 16


class UntimedCopies:
    """Decides which files are copied without their times: those that were refused for theirs, or
    all others if many were.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._times = run.log.refused_times
        self.unchecked = False
        """Whether rclone did not look at some files after their upload."""

    def begin(self, destination: RemotePath) -> RemotePath:
        """Begin a copy to the destination, and return it as it is to be used."""
        self._times.can_be_left_out = destination.remote.backend in _WITHOUT_TIMES
        return self.without_times(destination) if self._times.are_left_out else destination

    def without_times(self, destination: RemotePath) -> RemotePath:
        """Return the destination as rclone writes to it without times."""
        backend = destination.remote.backend
        self.unchecked |= backend == "ftp"
        return replace(destination, options=_WITHOUT_TIMES[backend])

    def should_stop(self) -> bool:
        """Whether so many files were refused that the copy is better begun again without times."""
        return len(self._times.paths) >= _MOST_REFUSED

    def settle(self) -> bool:
        """Return whether to begin the copy again, without the times of all files."""
        if not self.should_stop():
            return False
        self._run.log.end_stopping()
        self._run.outcomes.seal()
        self._times.are_left_out = True
        self._times.begin_without()
        return True

    @property
    def is_pending(self) -> bool:
        """Whether files are to be copied once more."""
        return bool(self._times.paths)

    def remaining(self) -> tuple[str, ...]:
        """Return the files that are to be copied once more, without their times."""
        return self._times.begin_without() if self._times.paths else ()
