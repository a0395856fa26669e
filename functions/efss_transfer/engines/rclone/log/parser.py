"""The record of a transfer, read from rclone's JSON log.

The log is the only complete account: `core/transferred` keeps about the last hundred
files, `core/stats` counts a failed file as a transfer, and neither tells what was
skipped. The messages are those of rclone 1.75 (fs/operations/copy.go, operations.go,
check.go, fs/march/march.go, fs/newfs.go).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import MAX_DURATION_REACHED, classify
from efss_transfer.engines.rclone.log.source_errors import SourceErrors
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side

_COPIED: Final = re.compile(r"(Multi-thread )?Copied \(")
_DUPLICATE: Final = "Duplicate object found in source"
_SKIPPED: Final = {
    "Unchanged skipping": Reason.SAME,
    "Destination exists, skipping": Reason.EXISTS,
    "Destination is newer than source, skipping": Reason.OLDER,
}
# With `newer`, of a file that is there; between them stands the precision of its time.
_SAME_TIME: Final = re.compile(
    r"Destination mod time is within .* of source and files identical, skipping"
)
_DRY_RUN: Final = "Skipped copy as --dry-run is set"
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
# What stood at the destination before a copy: the last of these lines about a file.
_SIZE: Final = re.compile(r"size = (\d+) (?:OK$|\()")
NOTHING: Final = -1

# Verification's words (check.go).
_EQUAL: Final = "OK"
_EQUAL_SIZE: Final = "OK - could not check hash"
_MISSING: Final = "file not in "
_DIFFERS: Final = re.compile(r"\S+ differ$")


def _shortened(path: str) -> str:
    """A path as its partial upload begins: whole, or without its last bytes."""
    if len(path.rpartition("/")[2].encode("utf-8", "replace")) <= _LONGEST_WHOLE:
        return path
    return path.encode("utf-8", "replace")[:-_PARTIAL_BYTES].decode("utf-8", "ignore")


@dataclass
class CheckedPair:
    """What verification has looked at so far; `by_size` are those of `equal` for which no
    checksum was compared.
    """

    equal: int = 0
    by_size: int = 0
    differing: int = 0
    missing: int = 0


def mismatch(side: Side | None, message: str) -> Failure:
    """A file that is not as it should be. The same request again finds it just so: what is
    there looks unchanged to it.
    """
    return Failure("checksum_mismatch", message, retryable=False, side=side)


class LogParser(FileOutcomes):
    """What became of every file, so far: a ledger that reads rclone's log.

    `take` is called from the thread that reads the log, all else from the one that drives
    the transfer.
    """

    def __init__(self, cleaner: Redactor) -> None:
        super().__init__()
        self._cleaner = cleaner
        self._shortened: dict[str, str] = {}
        self._answered: Counter[str] = Counter()
        self._ending = self._resting = False
        self._rests_from = ""
        self._aside = False
        self._before: dict[str, int] = {}
        self._reading = SourceErrors()
        self._checked: CheckedPair | None = None
        self.cut_off: dict[str, int] = {}
        """Files that were cut off when the work was stopped, and how many bytes each had at
        the destination before; -1 if it was not there."""
        self.doubt = ""
        """Why rclone does not know whether something is a file, though it says that it is:
        of S3 it does so whatever goes wrong, be it bad keys or a dead server."""
        self.hopeless = False
        """Whether the destination could not be listed. rclone goes on then as if it were
        empty; but a listing that failed is not an empty folder."""
        self.touched: Side | None = None
        """The side whose backend rclone set up last: an error without a word of its own
        about the side, before the copy began, is that side's."""

    def begin(self, *, last: bool, awaited: tuple[str, ...] = ()) -> None:
        """A new attempt begins: see Ledger."""
        super().begin(last=last, awaited=awaited)
        self._ending = self.hopeless = False
        self._before.clear()
        self._reading = SourceErrors()
        self._checked = None

    def verify(self, checked: CheckedPair) -> None:
        """From here on the log tells what comparing both sides shows; `checked` counts it."""
        self.begin(last=True)
        self._checked = checked

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
        kind = str(entry.get("objectType", ""))
        if own := _OWN_CALL.match(message):
            self._resting = self._resting or own[1] == self._rests_from
            if own[2]:
                with self._changed:
                    self._answered[own[1]] += 1
                    self._changed.notify_all()
        elif self._resting:
            pass
        elif self._checked is not None and self._take_check(message, name, self._checked):
            return
        elif entry.get("level") == "error":
            if not self._aside:
                self._take_error(message, name, kind)
        elif name and self._checked is None:
            self._take_file(message, name, kind, entry.get("size"))
        elif _DOUBT.match(message):
            self.doubt = message.partition("): ")[2] or message
        elif created := _CREATING.match(message):
            self.touched = Side(created[1])

    def _take_file(self, message: str, name: str, kind: str, size: object) -> None:
        if message.startswith(_NEEDED):
            self._before[name] = NOTHING
            if (short := _shortened(name)) != name:
                # Two names that are cut to the same cannot be told apart afterwards.
                self._shortened[short] = short if short in self._shortened else name
        elif there := _SIZE.match(message):
            self._before[name] = int(there[1])
        elif _COPIED.match(message):
            size = size if isinstance(size, int) else 0
            self._reading.pop(name)
            self.tell(FileOutcome(name, FileState.TRANSFERRED, size))
        elif message in _SKIPPED:
            self._skip(name, _SKIPPED[message])
        elif _SAME_TIME.match(message):
            self._skip(name, Reason.SAME)
        elif message.startswith(_DRY_RUN) and kind != "*fs.Dir":
            size = size if isinstance(size, int) else 0
            self.tell(FileOutcome(name, FileState.SKIPPED, size, reason=Reason.DRY_RUN))
        elif message.startswith(_DUPLICATE):
            # rclone takes no notice of it: two names that differ only in how their letters
            # are composed are one to it, and so one file would be lost without a word.
            failure = classify(message, Side.SOURCE, self._cleaner)
            self.tell(FileOutcome(name, FileState.FAILED, error=failure))
        elif _DOUBT.match(message):
            self.doubt = message.partition("): ")[2] or message
        else:
            self._reading.record(message, name)

    def _skip(self, name: str, reason: Reason) -> None:
        size = self._before.get(name) if reason is Reason.SAME else None
        self.tell(FileOutcome(name, FileState.SKIPPED, size, reason=reason))

    def tell(self, outcome: FileOutcome) -> None:
        """The outcome of a file: see Ledger."""
        self._before.pop(outcome.path, None)
        if self._shortened:
            self._shortened.pop(_shortened(outcome.path), None)
        super().tell(outcome)

    def _take_error(self, message: str, name: str, kind: str) -> None:
        if MAX_DURATION_REACHED in message:
            return  # we said when; what was not begun is not done, and has not failed
        if message.startswith(_UNLISTED):
            self.hopeless = True
        if not (prefix := _FAILED.match(message)):
            if self._ending and "context canceled" in message:
                return
            # The object of such an error is a folder's path, or a description of a root.
            named = kind in ("string", "*fs.Dir")
            self.trouble(classify(message, None, self._cleaner), name if named else "")
            return
        text = message.removeprefix("Failed to copy: ")
        path = name if prefix[0] == "Failed to copy: " else self._whole(name)
        if self._ending and "context canceled" in message:
            # Cut off by us, so not done rather than failed.
            if path in self._before:
                self.cut_off[path] = self._before.pop(path)
            return
        if broken_off := self._reading.pop(name, text):
            text = f"error reading source: {broken_off}"
        # What fails without a word about the source failed while it was written.
        failure = classify(text, Side.DESTINATION, self._cleaner)
        self.tell(FileOutcome(path, FileState.FAILED, error=failure))

    def _take_check(self, message: str, name: str, checked: CheckedPair) -> bool:
        """Take a line of verification's; tells whether it was one."""
        if message in (_EQUAL, _EQUAL_SIZE):
            checked.equal += 1
            checked.by_size += message == _EQUAL_SIZE
        elif message.startswith(_MISSING):
            failure = mismatch(Side.DESTINATION, "It is not at the destination.")
            checked.missing += self.differs(name, failure)
        elif _DIFFERS.match(message):
            what = "content" if message.startswith("content") else message.partition(" ")[0]
            text = f"After the copy the two sides differ ({what})."
            checked.differing += self.differs(name, mismatch(None, text))
        else:
            return False
        return True

    def _whole(self, name: str) -> str:
        """The name of a file that is named as it was uploaded."""
        begins = _PARTIAL.sub("", name)
        return self._shortened.get(begins, begins)

    def rest_from(self, call: str) -> None:
        """The transfer is over: from the beginning of that call on, which is yet to be made,
        nothing in the log concerns it. What is said before still counts, however late it is
        read. Needs the level DEBUG.
        """
        self._rests_from = call

    def settle(self, call: str, times: int, seconds: float) -> None:
        """Wait until the log was read to the end of a call, made for the `times`-th time.

        rclone logs before it answers, but its answer comes by another way than its log,
        and may be there first. Needs the level DEBUG.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._answered[call] >= times, seconds)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For the time of a look in which no error counts."""
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    def end(self) -> None:
        """From here on what is cut off counts as not done, not as failed."""
        self._ending = True
