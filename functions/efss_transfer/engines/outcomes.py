"""What became of every file, counted over all attempts: each once, and none forgotten.

What one attempt could not do and another may is held back until it is known how it ends.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from efss_transfer.engines.seen_paths import SeenPaths, SeenState
from efss_transfer.model.result import (
    SAMPLES,
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Reason,
    Sample,
    Side,
    Totals,
)

_FULL: Final = 1_000
MOST_HELD_BACK: Final = 1_000
"""How many failed files wait for another attempt; with more the attempt itself has failed."""
# Each takes seconds, because rclone slows down for a storage that is busy.
_OUTAGE_IN_A_ROW: Final = 8
_OUTAGES: Final = frozenset({"storage_unreachable", "storage_busy"})


class FileOutcomes:
    """What became of every file, so far.

    It is told from one thread, which reads the log, and read from another, which drives the
    transfer; that one may tell as well. It holds a bounded number of outcomes that nobody has
    taken yet: see `held`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: deque[FileOutcome] = deque()
        self._held = False
        self._told = SeenPaths()
        self._counts: Counter[FileState] = Counter()
        self._reasons: Counter[Reason] = Counter()
        self._bytes = self._dry_bytes = 0
        self._groups: dict[tuple[str, Side | None, bool], list[Sample]] = {}
        self._group_counts: Counter[tuple[str, Side | None, bool]] = Counter()
        self._last = True
        self._awaited: set[str] = set()
        # What waits for another attempt: files, and what concerns no file.
        self._held_back: dict[str, FileOutcome] = {}
        self._troubles: list[tuple[Failure, str]] = []
        self._outages_in_a_row = 0
        self.failures = 0
        """How much has failed in this attempt."""

    def begin(self, *, last: bool, awaited: tuple[str, ...] = ()) -> None:
        """A new attempt begins. If it is the last, nothing is held back any more.

        `awaited` are the files that it is about, if they are known: see `unaccounted`.
        """
        with self._changed:
            self._told.seal()
            self._last = last
            self._awaited = set(awaited)
            self._troubles.clear()
            self._outages_in_a_row = self.failures = 0

    def close(self) -> None:
        """There is no further attempt: tell what was held back for one."""
        with self._changed:
            self._last = True
            for failure, path in self._troubles:
                self._count(failure, path)
            self._troubles.clear()
            for outcome in self._held_back.values():
                self._enter(outcome)
            self._held_back.clear()

    def tell(self, outcome: FileOutcome) -> None:
        """The outcome of a file. What an earlier attempt has told is not told again."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or len(self._pending) < _FULL)
            self._awaited.discard(outcome.path)
            error = outcome.error
            if error is None:
                self._outages_in_a_row = 0
            else:
                self.failures += 1
                self._outages_in_a_row += error.code in _OUTAGES
            if self._told.state_of(outcome.path) is not None:
                if error is not None:
                    self._correct(outcome.path, error)
            elif error is not None and error.retryable and not self._last:
                self._held_back[outcome.path] = outcome
            else:
                self._held_back.pop(outcome.path, None)
                self._enter(outcome)

    def differs(self, path: str, failure: Failure) -> bool:
        """Verification found a difference; tells whether that says anything.

        It does not of a file that has failed anyway, or was left as it was on purpose.
        """
        with self._changed:
            known = self._told.state_of(path)
            if known in (SeenState.FAILED, SeenState.SKIPPED):
                return False
            if known is None:
                self._enter(FileOutcome(path, FileState.FAILED, error=failure))
            else:
                self._correct(path, failure)
            return True

    def arrived(self, path: str) -> bool:
        """Whether an earlier attempt has told that a file was copied, or was there already."""
        with self._changed:
            return self._told.state_of(path) in (SeenState.TRANSFERRED, SeenState.SAME)

    def trouble(self, failure: Failure, path: str = "") -> None:
        """An error that concerns no file, but perhaps a folder; held back if it may pass."""
        with self._changed:
            self.failures += 1
            if failure.retryable and not self._last and len(self._troubles) < MOST_HELD_BACK:
                self._troubles.append((failure, path))
            else:
                self._count(failure, path)

    def fail(self, failure: Failure, path: str = "") -> None:
        """Count an error; `path` is empty where it concerns no file or folder."""
        with self._changed:
            self.failures += 1
            self._count(failure, path)

    @property
    def again(self) -> tuple[str, ...] | None:
        """The files to try again; None if that would not do, and all must be looked at."""
        with self._changed:
            whole = self._troubles or len(self._held_back) >= MOST_HELD_BACK
            return None if whole else tuple(self._held_back)

    @property
    def held_back(self) -> tuple[Failure, ...]:
        """Why another attempt is wanted; nothing if it is not."""
        with self._changed:
            files = tuple(outcome.error for outcome in self._held_back.values() if outcome.error)
            return (*files, *(failure for failure, _ in self._troubles))

    def is_outage(self) -> bool:
        """Whether so much has failed that the rest of the attempt is better tried later."""
        return not self._last and (
            self._outages_in_a_row >= _OUTAGE_IN_A_ROW or len(self._held_back) >= MOST_HELD_BACK
        )

    @property
    def unaccounted(self) -> frozenset[str]:
        """Which of the awaited files nothing was told of."""
        with self._changed:
            return frozenset(self._awaited)

    def _enter(self, outcome: FileOutcome) -> None:
        self._told.add(outcome)
        self._counts[outcome.state] += 1
        if outcome.reason is not None:
            self._reasons[outcome.reason] += 1
        if outcome.state is FileState.TRANSFERRED:
            self._bytes += outcome.size or 0
        elif outcome.reason is Reason.DRY_RUN:
            self._dry_bytes += outcome.size or 0
        self._pending.append(outcome)
        if outcome.error is not None:
            self._count(outcome.error, outcome.path)

    def _correct(self, path: str, failure: Failure) -> None:
        """A file that was told as copied, or as being there, has failed after all."""
        known = self._told.state_of(path)
        if known is SeenState.TRANSFERRED:
            self._counts[FileState.TRANSFERRED] -= 1
        elif known is SeenState.SAME:
            self._counts[FileState.SKIPPED] -= 1
            self._reasons[Reason.SAME] -= 1
        else:
            return
        self._told.mark_failed(path)
        self._counts[FileState.FAILED] += 1
        self._pending.append(FileOutcome(path, FileState.FAILED, error=failure))
        self._count(failure, path)

    def _count(self, failure: Failure, path: str) -> None:
        key = (failure.code, failure.side, failure.retryable)
        self._group_counts[key] += 1
        samples = self._groups.setdefault(key, [])
        if len(samples) < SAMPLES:
            samples.append(Sample(path, failure.message))

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the time in which whoever reads the outcomes is away.

        A reader who does not come back soon must not make this record grow: when it is
        full the log is no longer read, so rclone waits. At all other times it is read
        without a bound, because a call to an rclone that waits would wait as well.
        """
        self._set_held(True)
        try:
            yield
        finally:
            self._set_held(False)

    def _set_held(self, held: bool) -> None:
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def outcomes(self) -> Iterator[FileOutcome]:
        """The outcomes that nobody has taken yet, each once, in the order of the log."""
        while True:
            with self._changed:
                if not self._pending:
                    return
                outcome = self._pending.popleft()
                self._changed.notify_all()
            yield outcome

    @property
    def totals(self) -> Totals:
        """The counts so far; exact once the daemon has ended."""
        with self._changed:
            return Totals(
                self._counts[FileState.TRANSFERRED],
                self._counts[FileState.SKIPPED],
                self._counts[FileState.FAILED],
                self._bytes,
                {reason: n for reason, n in self._reasons.items() if n},
                self._dry_bytes,
            )

    @property
    def errors(self) -> tuple[ErrorGroup, ...]:
        """All errors so far, by code and side, the most frequent first."""
        with self._changed:
            groups = [
                ErrorGroup(code, side, retryable, self._group_counts[key], tuple(samples))
                for key, samples in self._groups.items()
                for code, side, retryable in [key]
            ]
        return tuple(sorted(groups, key=lambda group: -group.count))
