"""Notices that a storage refuses everything, long before rclone gives up its files.

rclone repeats each refused request after a pause of up to 2 s that all its files share: 400 files
at a server that answers each upload by 500 took more than an hour.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

# A restart of a server takes some seconds, and so does rclone's longest pause after it.
_FIRST_SECONDS: Final = 10.0
# How long an attempt waits if the one before it was ended by an outage as well.
_AGAIN_SECONDS: Final = 4.0
# How long it waits if it is the last one, and the first with an outage.
_ONLY_SECONDS: Final = 20.0
_LEAST_REFUSALS: Final = 4
# A server may take long to store a large file once it has all bytes.
_LARGE: Final = 1 << 20
_STORING_SECONDS: Final = 120.0


class OutageWatch:
    """Decides that a copy is in vain: nothing gets through, and request after request is refused.

    `begin_copy` comes before each copy of an attempt, and `settle` after it.
    """

    def __init__(self, run: RunContext, progress: ProgressReporter) -> None:
        self._run = run
        self._progress = progress
        self._refusals = run.log.refusals
        self._is_copying = False
        self._has_found = self._had_found = False
        self._since = 0.0
        self._refused_before = 0
        self._seen = (0, 0, 0)
        self._sent: dict[str, int] = {}
        explain = run.log.explain
        run.log.explain = lambda path, text, found: self._hopeful(explain(path, text, found))

    def begin_attempt(self) -> None:
        """Begin a new attempt."""
        self._had_found, self._has_found = self._has_found, False
        self._refusals.begin_attempt()

    def begin_copy(self) -> None:
        """Watch a copy from now on."""
        self._is_copying = True
        self._sent = {}
        self._restart()

    def should_stop(self) -> bool:
        """Whether the copy that runs now is in vain. Once it is, it stays so."""
        if not self._is_copying or self._has_found:
            return self._has_found
        if self._moves():
            self._restart()
        refused = self._refusals.count - self._refused_before
        is_silent = time.monotonic() - self._since >= self._patience
        self._has_found = is_silent and refused >= _LEAST_REFUSALS
        return self._has_found

    @property
    def _patience(self) -> float:
        if self._had_found:
            return _AGAIN_SECONDS
        return _ONLY_SECONDS if self._run.outcomes.is_last_attempt else _FIRST_SECONDS

    def settle(self) -> None:
        """Add the failure of each file that the copy was to bring and did not, if it was stopped
        by an outage.
        """
        self._is_copying = False
        if not self._has_found:
            return
        found = self._found()
        files = [
            FileOutcome(path, FileState.FAILED, error=self._failure(path, found))
            for path in self._run.log.unfinished
        ]
        if not self._run.outcomes.add_unfinished(files):
            self._run.outcomes.add_error(_not_tried(found))

    def _found(self) -> Failure:
        """What the storage says: to a file that it refused, or else to any request."""
        for path, text in dict(self._refusals.in_a_row).items():
            return self._run.classify(text, Side.DESTINATION, path)
        return self._run.classify(self._refusals.last, None)

    def _failure(self, path: str, found: Failure) -> Failure:
        text = self._refusals.of_files.get(path)
        if text is None:
            return _not_tried(found)
        # rclone was still trying: an outage may pass, whatever the storage says.
        failure = self._run.classify(text, Side.DESTINATION, path)
        return replace(failure, retryable=True)

    def _hopeful(self, failure: Failure) -> Failure:
        """Let a file be tried again that the storage refuses as it refuses all others. Otherwise an
        answer such as 500 is taken for this file's fault.
        """
        if (self._has_found or self._refusals.are_of_many) and failure.code == "storage_error":
            return replace(failure, retryable=True)
        return failure

    def _restart(self) -> None:
        self._since = time.monotonic()
        self._refused_before = self._refusals.count

    def _moves(self) -> bool:
        """Whether anything got through, or was answered for good, since the last call."""
        seen = (self._refusals.through, self._refusals.answered, self._progress.listed)
        moves, self._seen = seen != self._seen, seen
        before, self._sent = self._sent, {}
        for file, seconds in self._progress.stalls.stalled(0):
            known, sent = before.get(file.path, 0), file.current_bytes
            self._sent[file.path] = max(known, sent)
            # The first bytes go into buffers, and those of a repeated upload were sent before.
            moves |= 0 < known < sent
            is_whole = file.size is not None and _LARGE <= file.size <= sent
            is_refused = file.path in self._refusals.of_files
            moves |= is_whole and not is_refused and seconds < _STORING_SECONDS
        return moves


def _not_tried(found: Failure) -> Failure:
    text = f"Not copied, because the storage refuses all requests: {found.message}"
    return replace(found, message=text, retryable=True)
