"""Collects the outcome of every file over all attempts, each file once.

A failure that another attempt may cure is held back until the last attempt.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from efss_transfer.engines.groups import ErrorGroups, WarningGroups
from efss_transfer.engines.outcome_queue import OutcomeQueue
from efss_transfer.engines.seen_paths import SeenPaths, SeenState
from efss_transfer.model.result import (
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Reason,
    Sample,
    Totals,
    WarningGroup,
)

MOST_HELD_BACK: Final = 1_000
"""Maximum number of failed files that wait for another attempt; more fail the attempt itself."""
# Each of these failures takes seconds, because rclone slows down for a busy storage.
_OUTAGE_FAILURES_IN_A_ROW: Final = 8
_OUTAGE_CODES: Final = frozenset({"storage_unreachable", "storage_busy"})


class FileOutcomes:
    """The outcomes, totals and errors of one run so far.

    Thread-safe: the thread that reads the engine's log adds outcomes; the thread that drives
    the transfer drains them and may add some, too. `bounded` limits how many wait for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue = OutcomeQueue(self._changed)
        self.bounded, self.drain = self._queue.bounded, self._queue.drain
        self._seen = SeenPaths()
        self._counts: Counter[FileState] = Counter()
        self._reasons: Counter[Reason] = Counter()
        self._bytes = self._dry_run_bytes = 0
        self._errors = ErrorGroups()
        self._warnings = WarningGroups()
        self._is_last_attempt = True
        self._expected: set[str] = set()
        self._held_back_files: dict[str, FileOutcome] = {}
        self._held_back_errors: list[tuple[Failure, str]] = []
        self._held_back_entries: dict[str, FileOutcome] = {}
        self._outage_failures_in_a_row = 0
        self.failures_in_attempt = 0
        """Number of failures in this attempt, of files and of anything else."""

    def begin_attempt(self, *, last: bool, expected: tuple[str, ...] = ()) -> None:
        """Begin a new attempt. In the last one nothing is held back any more.

        `expected` are the paths of its files, if they are known: see `unreported`.
        """
        with self._changed:
            self._seen.seal()
            self._is_last_attempt = last
            self._expected = set(expected)
            self._held_back_errors.clear()
            self._held_back_entries.clear()
            self._outage_failures_in_a_row = self.failures_in_attempt = 0

    def close(self) -> None:
        """End the last attempt: failures that are still held back become final."""
        with self._changed:
            self._is_last_attempt = True
            for failure, path in self._held_back_errors:
                self._errors.add(failure, path)
            self._held_back_errors.clear()
            for outcome in {**self._held_back_entries, **self._held_back_files}.values():
                self._append(outcome)
            self._held_back_entries.clear()
            self._held_back_files.clear()

    def add(self, outcome: FileOutcome) -> None:
        """Add the outcome of a file. A success is ignored if an earlier attempt reported it."""
        with self._changed:
            self._queue.wait_for_room()
            self._expected.discard(outcome.path)
            error = outcome.error
            if error is None:
                self._outage_failures_in_a_row = 0
            else:
                self.failures_in_attempt += 1
                self._outage_failures_in_a_row += error.code in _OUTAGE_CODES
            if self._seen.state_of(outcome.path) is not None:
                if error is not None:
                    self._change_to_failed(outcome.path, error)
            elif error is not None and error.retryable and not self._is_last_attempt:
                self._held_back_files[outcome.path] = outcome
            else:
                self._held_back_files.pop(outcome.path, None)
                self._append(outcome)

    def add_unreported(self, outcome: FileOutcome) -> None:
        """Add the outcome of a file that has none. Call it after the last attempt."""
        with self._changed:
            self._seen.seal()
            if self._seen.state_of(outcome.path) is None:
                self._append(outcome)

    def add_unfinished(self, outcomes: Iterable[FileOutcome]) -> bool:
        """Add the failures of files that an attempt was to copy, and that have no outcome. Return
        whether the failure of any file waits for another attempt or is final.
        """
        with self._changed:
            self._seen.seal()
            for outcome in outcomes:
                if self._seen.state_of(outcome.path) is None:
                    self._held_back_files[outcome.path] = outcome
            if self._is_last_attempt:
                for outcome in self._held_back_files.values():
                    self._append(outcome)
                self._held_back_files.clear()
            # The engine may report the end of some of them as well.
            self._seen.seal()
            return bool(self._held_back_files or self._counts[FileState.FAILED])

    def add_passed_over(self, outcome: FileOutcome) -> None:
        """Add a failed entry that the source's listing names and the engine left out, which may be
        a folder. If another attempt may cure it, that one lists everything again.
        """
        error = outcome.error
        with self._changed:
            if error is None or self._seen.state_of(outcome.path) is not None:
                return  # An earlier attempt has copied it.
            has_room = len(self._held_back_entries) < MOST_HELD_BACK
            if error.retryable and not self._is_last_attempt and has_room:
                self.failures_in_attempt += 1
                self._held_back_entries[outcome.path] = outcome
                return
        self.add(outcome)

    def is_reported(self, path: str) -> bool:
        """Whether a file has an outcome or waits for one. Call it if the engine has none."""
        with self._changed:
            self._seen.seal()
            is_held_back = path in self._held_back_files or path in self._held_back_entries
            return is_held_back or self._seen.state_of(path) is not None

    def add_mismatch(self, path: str, failure: Failure) -> bool:
        """Add a difference that verification found, and return whether it counts.

        It does not count for a file that failed anyway, or that was skipped on purpose although
        it differs.
        """
        with self._changed:
            known = self._seen.state_of(path)
            if known in (SeenState.FAILED, SeenState.SKIPPED):
                return False
            if known is None:
                self._append(FileOutcome(path, FileState.FAILED, error=failure))
            else:
                self._change_to_failed(path, failure)
            return True

    def has_arrived(self, path: str) -> bool:
        """Whether an earlier attempt copied the file, or found it unchanged."""
        return self.state_of(path) in (SeenState.TRANSFERRED, SeenState.SAME)

    def state_of(self, path: str) -> SeenState | None:
        """The state that was reported of a file before this attempt, or `seal`."""
        with self._changed:
            return self._seen.state_of(path)

    def seal(self) -> None:
        """Let `state_of` find all files so far. Their outcomes stay if they come again."""
        with self._changed:
            self._seen.seal()

    def add_error(self, failure: Failure, path: str = "") -> None:
        """Add an error that is no file's, and hold it back if another attempt may cure it.

        `path` is that of a folder, or empty.
        """
        with self._changed:
            self.failures_in_attempt += 1
            has_room = len(self._held_back_errors) < MOST_HELD_BACK
            if failure.retryable and not self._is_last_attempt and has_room:
                self._held_back_errors.append((failure, path))
            else:
                self._errors.add(failure, path)

    def add_final_error(self, failure: Failure, path: str = "") -> None:
        """Add an error of the whole transfer, or of an unfinished path; never held back."""
        with self._changed:
            self.failures_in_attempt += 1
            self._errors.add(failure, path)

    def lead(self, group: ErrorGroup, cause: Sample) -> None:
        """Let a group of `errors` begin with a cause that its errors have in common."""
        with self._changed:
            self._errors.lead(group, cause)

    def warn(self, code: str, path: str, message: str, count: int = 1) -> None:
        """Add `count` warnings of a code, with one sample: a path or "", and a redacted text."""
        with self._changed:
            self._warnings.add(code, path, message, count)

    @property
    def files_to_retry(self) -> tuple[str, ...] | None:
        """The paths for the next attempt; None if it must look at all files again."""
        with self._changed:
            must_list = self._held_back_errors or self._held_back_entries
            if must_list or len(self._held_back_files) >= MOST_HELD_BACK:
                return None
            return tuple(self._held_back_files)

    @property
    def held_back_failures(self) -> tuple[Failure, ...]:
        """The failures that another attempt may cure; empty if none is needed."""
        with self._changed:
            held_back = (*self._held_back_files.values(), *self._held_back_entries.values())
            of_files = (outcome.error for outcome in held_back if outcome.error is not None)
            return (*of_files, *(failure for failure, _ in self._held_back_errors))

    @property
    def is_last_attempt(self) -> bool:
        """Whether this attempt is the last one by number."""
        return self._is_last_attempt

    def is_outage(self) -> bool:
        """Whether so much failed that the rest of the attempt is better tried later."""
        return not self._is_last_attempt and (
            self._outage_failures_in_a_row >= _OUTAGE_FAILURES_IN_A_ROW
            or len(self._held_back_files) >= MOST_HELD_BACK
        )

    @property
    def unreported(self) -> frozenset[str]:
        """The expected files of this attempt that have no outcome yet."""
        with self._changed:
            return frozenset(self._expected)

    def _append(self, outcome: FileOutcome) -> None:
        self._seen.add(outcome)
        self._counts[outcome.state] += 1
        if outcome.reason is not None:
            self._reasons[outcome.reason] += 1
        if outcome.state is FileState.TRANSFERRED:
            self._bytes += outcome.size or 0
        elif outcome.reason is Reason.DRY_RUN:
            self._dry_run_bytes += outcome.size or 0
        self._queue.append(outcome)
        if outcome.error is not None:
            self._errors.add(outcome.error, outcome.path)

    def _change_to_failed(self, path: str, failure: Failure) -> None:
        """Correct a file that was reported as copied or unchanged, and failed after all."""
        known = self._seen.state_of(path)
        if known is SeenState.TRANSFERRED:
            self._counts[FileState.TRANSFERRED] -= 1
        elif known is SeenState.SAME:
            self._counts[FileState.SKIPPED] -= 1
            self._reasons[Reason.SAME] -= 1
        else:
            return
        self._seen.mark_failed(path)
        self._counts[FileState.FAILED] += 1
        self._queue.append(FileOutcome(path, FileState.FAILED, error=failure))
        self._errors.add(failure, path)

    @property
    def totals(self) -> Totals:
        """The counts so far; final once the engine has ended."""
        with self._changed:
            return Totals(
                self._counts[FileState.TRANSFERRED],
                self._counts[FileState.SKIPPED],
                self._counts[FileState.FAILED],
                self._bytes,
                {reason: n for reason, n in self._reasons.items() if n},
                self._dry_run_bytes,
            )

    @property
    def errors(self) -> tuple[ErrorGroup, ...]:
        """All errors so far, grouped by code and side, the most frequent group first."""
        with self._changed:
            return self._errors.groups()

    @property
    def warnings(self) -> tuple[WarningGroup, ...]:
        """All warnings so far, grouped by code, the most frequent group first."""
        with self._changed:
            return self._warnings.groups()
