"""The record of a transfer, read from rclone's JSON log.

The log is the only complete account: `core/transferred` keeps about the last hundred
files, `core/stats` counts a failed file as a transfer, and neither tells what was
skipped. The messages are those of rclone 1.75 (fs/operations/copy.go, operations.go,
fs/march/march.go, fs/newfs.go).
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from efss_transfer.engines.rclone.cleaning import Cleaner
from efss_transfer.engines.rclone.failures import classify
from efss_transfer.engines.rclone.reading import Reading
from efss_transfer.result import (
    SAMPLES,
    ErrorGroup,
    Failure,
    FileOutcome,
    FileState,
    Sample,
    Side,
    Totals,
)

_COPIED: Final = re.compile(r"(Multi-thread )?Copied \(")
_DUPLICATE: Final = "Duplicate object found in source"
_UNCHANGED: Final = "Unchanged skipping"
_FAILED: Final = re.compile(
    r"Failed to copy: |corrupted on transfer: |partial file rename failed: "
)
_DOUBT: Final = re.compile(r"Couldn't check \".*\" for children after HEAD failed")
_UNLISTED: Final = "error reading destination root directory: "
# The last line about a call; what it failed with is in its reply, too.
_OWN_CALL: Final = re.compile(r'rc: "([^"]*)": (reply |error: )?')
_CREATING: Final = re.compile(r'Creating backend with remote "(source|destination):')
# A file that was refused after its upload is named as it was uploaded. From a name of more
# than a hundred bytes the end was cut off for that (fs/operations/copy.go, checkPartial).
_PARTIAL: Final = re.compile(r"\.[0-9a-f]{8}\.partial$")
_PARTIAL_BYTES: Final = len(".01234567.partial")
_LONGEST_WHOLE: Final = 100
_NEEDED: Final = "Need to transfer"
_FULL: Final = 1_000


def _shortened(path: str) -> str:
    """A path as its partial upload begins: whole, or without its last bytes."""
    if len(path.rpartition("/")[2].encode("utf-8", "replace")) <= _LONGEST_WHOLE:
        return path
    return path.encode("utf-8", "replace")[:-_PARTIAL_BYTES].decode("utf-8", "ignore")


class Record:
    """What became of every file, so far.

    Its methods are called from two threads: `take` from the one that reads the log, all
    others from the one that drives the transfer. It holds a bounded number of outcomes
    that nobody has taken yet: see `held`.
    """

    def __init__(self, cleaner: Cleaner) -> None:
        self._cleaner = cleaner
        self._changed = threading.Condition()
        self._pending: deque[FileOutcome] = deque()
        self._cut: dict[str, str] = {}
        self._reading = Reading()
        self._answered: Counter[str] = Counter()
        self._held = False
        self._ending = False
        self._counts = dict.fromkeys(FileState, 0)
        self._bytes = 0
        self._groups: dict[tuple[str, Side | None, bool], list[Sample]] = {}
        self._group_counts: dict[tuple[str, Side | None, bool], int] = {}
        self.doubt = ""
        """Why rclone does not know whether something is a file, though it says that it is:
        of S3 it does so whatever goes wrong, be it bad keys or a dead server."""
        self.hopeless = False
        """Whether the destination could not be listed. rclone goes on then as if it were
        empty; but a listing that failed is not an empty folder."""
        self.touched: Side | None = None
        """The side whose backend rclone set up last: an error without a word of its own
        about the side, before the copy began, is that side's."""

    def take(self, line: bytes) -> None:
        """Take a line of the log. A line that is not rclone's JSON is passed over: the
        counts come from known messages only, and how the job ended from rclone itself.
        """
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(entry, dict):
            self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        message, name = str(entry.get("msg", "")), str(entry.get("object", ""))
        if own := _OWN_CALL.match(message):
            if own[2]:
                with self._changed:
                    self._answered[own[1]] += 1
                    self._changed.notify_all()
            return
        if message.startswith(_NEEDED) and (short := _shortened(name)) != name:
            # Two names that are cut to the same cannot be told apart afterwards.
            self._cut[short] = short if short in self._cut else name
        if entry.get("level") == "error":
            self._take_error(message, name, str(entry.get("objectType", "")))
        elif _COPIED.match(message):
            size = entry.get("size")
            self._add(
                FileOutcome(name, FileState.TRANSFERRED, size if isinstance(size, int) else 0)
            )
            self._reading.end(name)
        elif message == _UNCHANGED:
            self._add(FileOutcome(name, FileState.SKIPPED))
        elif message.startswith(_DUPLICATE):
            # rclone takes no notice of it: two names that differ only in how their letters
            # are composed are one to it, and so one file would be lost without a word.
            failure = classify(message, Side.SOURCE, self._cleaner)
            self._add(FileOutcome(name, FileState.FAILED, error=failure))
        elif _DOUBT.match(message):
            self.doubt = message.partition("): ")[2] or message
        elif created := _CREATING.match(message):
            self.touched = Side(created[1])
        else:
            self._reading.take(message, name)

    def _take_error(self, message: str, name: str, kind: str) -> None:
        if message.startswith(_UNLISTED):
            self.hopeless = True
        if not (prefix := _FAILED.match(message)):
            # The object of such an error is a folder's path, or a description of a root.
            named = kind in ("string", "*fs.Dir")
            self.fail(classify(message, None, self._cleaner), name if named else "")
            return
        if self._ending and "context canceled" in message:
            return  # cut off by us, so not done rather than failed
        text = message.removeprefix("Failed to copy: ")
        if broken_off := self._reading.end(name, text):
            text = f"error reading source: {broken_off}"
        # What fails without a word about the source failed while it was written.
        failure = classify(text, Side.DESTINATION, self._cleaner)
        path = name if prefix[0] == "Failed to copy: " else self._whole(name)
        self._add(FileOutcome(path, FileState.FAILED, error=failure))

    def _whole(self, name: str) -> str:
        """The name of a file that is named as it was uploaded."""
        begins = _PARTIAL.sub("", name)
        return self._cut.get(begins, begins)

    def _add(self, outcome: FileOutcome) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._held or len(self._pending) < _FULL)
            self._counts[outcome.state] += 1
            if self._cut:
                self._cut.pop(_shortened(outcome.path), None)
            if outcome.state is FileState.TRANSFERRED:
                self._bytes += outcome.size or 0
            self._pending.append(outcome)
        if outcome.error is not None:
            self.fail(outcome.error, outcome.path)

    def fail(self, failure: Failure, path: str = "") -> None:
        """Count an error; `path` is empty where it concerns no file or folder."""
        key = (failure.code, failure.side, failure.retryable)
        with self._changed:
            self._group_counts[key] = self._group_counts.get(key, 0) + 1
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

    def settle(self, call: str, times: int, seconds: float) -> None:
        """Wait until the log was read to the end of a call, made for the `times`-th time.

        rclone logs before it answers, but its answer comes by another way than its log,
        and may be there first. Needs the level DEBUG.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._answered[call] >= times, seconds)

    def end(self) -> None:
        """From here on what is cut off counts as not done, not as failed."""
        self._ending = True

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
