"""Parses rclone's JSON log, line by line.

Only the log is complete: `core/transferred` keeps about the last hundred files, `core/stats`
counts a failed file as a transfer, and neither reports skipped files.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from efss_transfer.engines.long_names import shortened
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.alike_names import AlikeNames
from efss_transfer.engines.rclone.log.check_lines import CheckCounts, CheckLines
from efss_transfer.engines.rclone.log.copy_lines import CopyLines, Explain
from efss_transfer.engines.rclone.log.mismatches import Mismatches
from efss_transfer.engines.rclone.log.refusals import Refusals
from efss_transfer.engines.rclone.log.refused_times import RefusedTimes
from efss_transfer.engines.rclone.log.sample_names import SampleNames
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import FileOutcome, Side

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.log.passed_over import PassedOver
    from efss_transfer.engines.rclone.log.shells import UnansweredShells

# A line about an rc call: its beginning, or its reply or error, which is its last line. The
# error is in the call's reply as well, and is counted from there.
_RC_CALL: Final = re.compile(r'rc: "([^"]*)": (reply |error: )?')
# The reply to a marker: rclone repeats the parameters of `rc/noop` in it.
_MARKER: Final = re.compile(r'rc: "rc/noop": reply map\[marker:(\d+)\]')
# fs/newfs.go
_OPENING: Final = re.compile(r'Creating backend with remote "(source|destination):')
# fs/filter/filter.go
_TOO_SMALL: Final = "Excluded (Size Filter)"
# What Go's runtime says before it ends rclone, which is no JSON. The last two: its collector
# faults where it is refused memory for a queue. (A fault in rclone's own code is a panic.)
_OUT_OF_MEMORY: Final = re.compile(
    rb"^(?:fatal error: )?(?:(?:runtime: )?(?:out of memory|cannot (?:allocate|map pages)|failed "
    rb"to (?:reserve|commit) page|failed to create .*errno=12)|SIGSEGV: |unexpected sig)"
)
# Says nothing that another line about the file does not: it is not even parsed.
_NOT_NEEDED: Final = re.compile(rb'\{"time":"[^"]+","level":"debug","msg":"Size and modification t')
_decode: Final = json.JSONDecoder().raw_decode
_HEAD_FAILED: Final = re.compile(r"Couldn't check \".*\" for children after HEAD failed")


class LogPhase(Enum):
    """The phase of a run, which decides what counts of the log."""

    RUNNING = "running"
    """Every outcome and every error counts."""
    PROBING = "probing"
    """The source is probed: errors do not count, because the copy would meet them, too."""
    STOPPING = "stopping"
    """The work is being stopped: a cancelled file is unfinished, and has not failed."""
    FINISHED = "finished"
    """The transfer is over: nothing counts."""


class LogParser:
    """Turns rclone's log into outcomes and errors. The log level must be DEBUG.

    The thread that reads the log calls `take`; the one that drives the transfer uses the rest.
    """

    def __init__(self, outcomes: FileOutcomes, redactor: Redactor) -> None:
        self._outcomes = outcomes
        self._copy = CopyLines(outcomes, redactor)
        self.refusals = Refusals()
        """Counts what the storages refuse while files are copied."""
        self._check: CheckLines | None = None
        self._phase = LogPhase.RUNNING
        self._last_call = ""
        self._changed = threading.Condition()
        self._last_marker = 0
        self._has_ended = threading.Event()
        self.head_error = ""
        """The true cause where rclone says that something is a file: for S3 it says so
        whatever goes wrong, be it wrong keys or a dead server."""
        self.last_opened_side: Side | None = None
        """The side whose storage rclone opened last. An error before the copy that mentions no
        side belongs to it."""
        self.lines = 0
        """How many lines were read so far."""
        self.is_out_of_memory = False
        """Whether rclone ended because its memory was used up."""
        self.alike_names = AlikeNames()
        """The names of the source's files that a probe has listed."""
        self.sample_names = SampleNames()
        """A few of them."""
        self.shells: UnansweredShells | None = None
        """Takes the lines about shells of SFTP servers, if a side is one."""
        self.passed_over: PassedOver | None = None
        """Takes the lines about entries that listings lose, once both sides are known."""

    @property
    def cut_off(self) -> dict[str, int]:
        """The files that were cut off when this attempt was stopped: see CopyLines."""
        return self._copy.cut_off

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The files that this attempt was to copy, and that have no outcome."""
        return self._copy.unfinished

    @property
    def deferred(self) -> set[str]:
        """The files that a part of this attempt has left to the next: see CopyLines."""
        return self._copy.deferred

    @contextmanager
    def deferring_newer(self, *, by_name: bool) -> Iterator[None]:
        """Take files that are newer at the destination for undecided in the block."""
        self._copy.defers_newer, self._copy.defers_by_name = True, by_name
        try:
            yield
        finally:
            self._copy.defers_newer = False

    @property
    def duplicates(self) -> dict[str, bool]:
        """The names that rclone passed over in this attempt: see CopyLines."""
        return self._copy.duplicates

    @property
    def unsized(self) -> dict[str, bool]:
        """The files that were copied without a known size: see CopyLines."""
        return self._copy.unsized

    @property
    def unclean_names(self) -> set[str]:
        """The files with unclean names that this attempt left out: see CopyLines."""
        return self._copy.unclean_names

    @property
    def destination_list_failed(self) -> bool:
        """Whether the destination's folder could not be listed in this attempt.

        rclone then continues as if it were empty; but a listing that failed does not mean an
        empty folder.
        """
        return "" in self._copy.unlisted_at_destination

    def is_unlisted_at_destination(self, path: str) -> bool:
        """Whether a file may be at the destination although no listing has it."""
        is_passed_over = self.passed_over is not None and self.passed_over.lost_at_destination
        return is_passed_over or self._copy.is_unlisted_at_destination(path)

    @property
    def refused_times(self) -> RefusedTimes:
        """The files whose times the destination refuses."""
        return self._copy.refused_times

    @property
    def mismatches(self) -> Mismatches:
        """The files whose checksums differ."""
        return self._copy.mismatches

    @property
    def explain(self) -> Explain:
        """Replaces the failures that rclone's texts mean, where more is known of them."""
        return self._copy.explain

    @explain.setter
    def explain(self, explain: Explain) -> None:
        self._copy.explain = explain

    def on_outcome(self, take: Callable[[FileOutcome], None]) -> None:
        """Let `take` have each outcome that the log of a copy has for a file, too."""
        self._copy.on_outcome.append(take)

    def begin_attempt(self) -> None:
        """Read the lines of a new attempt."""
        self._copy.begin_attempt()
        if self.passed_over is not None:
            self.passed_over.begin_attempt()
        self._check = None
        self._enter(LogPhase.RUNNING)

    def begin_verification(self, counts: CheckCounts) -> None:
        """Read the lines of a verification, and count its comparisons in `counts`."""
        self.begin_attempt()
        self._check = CheckLines(self._outcomes, counts)

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Ignore errors while the source is probed."""
        self._enter(LogPhase.PROBING)
        try:
            yield
        finally:
            self._enter(LogPhase.RUNNING)

    def begin_stopping(self) -> None:
        """From now on take a cancelled file as unfinished, and not as failed."""
        self._enter(LogPhase.STOPPING)

    def end_stopping(self) -> None:
        """Take errors as such again: the work goes on after a stop."""
        self._enter(LogPhase.RUNNING)

    def finish_at(self, call: str) -> None:
        """Ignore the log from the first line about the next `call` on.

        The transfer is over, and that call is yet to be made; earlier lines still count,
        however late they are read.
        """
        self._last_call = call

    def wait_for_marker(self, marker: int, seconds: float) -> None:
        """Wait until a marker is read from the log, at most `seconds`.

        rclone logs before it replies, but the log takes another way than the reply, and may
        arrive later. All lines that rclone wrote before the marker are then read.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._last_marker >= marker, seconds)

    def wait_for_end(self, seconds: float) -> None:
        """Wait until all that an rclone which has ended had logged is read, at most `seconds`."""
        self._has_ended.wait(seconds)

    def take(self, line: bytes) -> None:
        """Take a line of the log, and ignore it if it is not rclone's JSON: outcomes come from
        known messages only, and the end of the job from rclone's reply. An empty line is the end.
        """
        if not line:
            self._has_ended.set()
            return
        self.lines += 1
        if _NOT_NEEDED.match(line):
            return
        try:
            entry, _ = _decode(line.decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            self.is_out_of_memory = self.is_out_of_memory or _OUT_OF_MEMORY.search(line) is not None
            return
        if isinstance(entry, dict):
            self._take(entry)

    def _take(self, entry: Mapping[str, Any]) -> None:
        message, name = str(entry.get("msg", "")), shortened(str(entry.get("object", "")))
        if message.startswith("rc: ") and (call := _RC_CALL.match(message)):
            self._take_call(call[1], message, is_reply=bool(call[2]))
        elif self._phase is LogPhase.FINISHED:
            return
        elif self._check is None or not self._check.take(message, name):
            self._take_copy_line(message, name, entry)

    def _take_copy_line(self, message: str, name: str, entry: Mapping[str, Any]) -> None:
        kind = str(entry.get("objectType", ""))
        if self._phase is LogPhase.RUNNING and self._check is None:
            self.refusals.take(message, name)
        if entry.get("level") == "error":
            if self._phase is not LogPhase.PROBING:
                is_stopping = self._phase is LogPhase.STOPPING
                self._copy.take_error(message, name, kind, is_stopping=is_stopping)
        elif _HEAD_FAILED.match(message):
            self.head_error = message.partition("): ")[2] or message
        elif opening := _OPENING.match(message):
            self.last_opened_side = Side(opening[1])
        elif self._is_passed_over(message, name, kind) or self._is_of_shell(message, name):
            return
        elif self._phase is LogPhase.PROBING:
            if message == _TOO_SMALL:
                self.alike_names.add(name)
                self.sample_names.add(name)
        elif name and self._check is None:
            self._copy.take_line(message, name, kind, entry.get("size"))

    def _is_of_shell(self, message: str, name: str) -> bool:
        return self.shells is not None and self.shells.take(message, name)

    def _is_passed_over(self, message: str, name: str, kind: str) -> bool:
        if self.passed_over is None:
            return False
        verifying, stopping = self._check is not None, self._phase is LogPhase.STOPPING
        return self.passed_over.take(message, name, kind, verifying=verifying, stopping=stopping)

    def _take_call(self, call: str, message: str, *, is_reply: bool) -> None:
        if self.passed_over is not None:
            self.passed_over.take_call(call, is_reply=is_reply)
        with self._changed:
            if call == self._last_call:
                self._phase = LogPhase.FINISHED
            if is_reply and (marker := _MARKER.match(message)):
                self._last_marker = max(self._last_marker, int(marker[1]))
                self._changed.notify_all()

    def _enter(self, phase: LogPhase) -> None:
        with self._changed:
            if self._phase is not LogPhase.FINISHED:
                self._phase = phase
