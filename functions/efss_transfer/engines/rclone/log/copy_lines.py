"""Reads the log lines of a copy: the outcome of each file, and errors that are no file's.

The messages are those of rclone 1.75 (fs/operations/copy.go, operations.go, fs/march/march.go).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from efss_transfer.engines.long_names import is_shortened
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import (
    CANCELLED,
    FAILED_TO_COPY,
    MAX_DURATION_REACHED,
    classify,
)
from efss_transfer.engines.rclone.log.mismatches import Mismatches
from efss_transfer.engines.rclone.log.refused_times import RefusedTimes
from efss_transfer.engines.rclone.log.source_errors import SourceErrors
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.unclean_names import MOST_NAMES, is_unclean
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side

_COPIED: Final = re.compile(r"(Multi-thread )?Copied \(")
_MOST_UNSIZED: Final = 1_000
_DUPLICATE: Final = re.compile("Duplicate (object|directory) found in source")
_EXCLUDED: Final = "Excluded"
# A folder of an object store that ends in `/`: rclone lists the folder above in its place.
_UNLISTED: Final = re.compile(
    r'Entry doesn\'t belong in directory "(.*/)" \((?:too short|same as directory)\)'
)
_SKIPPED: Final = {
    "Unchanged skipping": Reason.SAME,
    "Destination exists, skipping": Reason.EXISTS,
    "Destination is newer than source, skipping": Reason.OLDER,
}
# With `overwrite: newer`, for an unchanged file; the message contains the precision of its time.
_SAME_TIME: Final = re.compile(
    r"Destination mod time is within .* of source and files identical, skipping"
)
_DRY_RUN: Final = "Skipped copy as --dry-run is set"
_FAILED: Final = re.compile(
    r"Failed to copy: |corrupted on transfer: |partial file rename failed: "
)
_DESTINATION_UNLISTED: Final = re.compile("error reading destination (root )?directory: ")
# A file that was refused after its upload is logged under the name of its upload. To make that
# name, rclone cuts the end off a name of more than a hundred bytes (fs/operations/copy.go,
# checkPartial).
_PARTIAL: Final = re.compile(r"\.[0-9a-f]{8}\.partial$")
_PARTIAL_BYTES: Final = len(".01234567.partial")
_LONGEST_WHOLE: Final = 100
_NEEDED: Final = "Need to transfer"
_NO_CHECKSUM: Final = (
    "A storage has no checksum of this file, so other content of the same size is not copied."
)
_MOST_DUPLICATES: Final = 10_000
# The size at the destination before the copy: the last of these lines about a file has it.
_SIZE: Final = re.compile(r"size = (\d+) (?:OK$|\()")
MISSING_SIZE: Final = -1
"""The size of a file that was not at the destination before the copy."""


Explain = Callable[[str, str, Failure], Failure]
"""Replaces the failure of a path that a text of rclone's means, if more is known of it."""


def unexplained(_path: str, _text: str, found: Failure) -> Failure:
    """Nothing more is known of a failure than rclone's text."""
    return found


class CopyLines:
    """Adds the outcomes and errors that a copy logs to `outcomes`."""

    def __init__(self, outcomes: FileOutcomes, redactor: Redactor) -> None:
        self._outcomes = outcomes
        self._redactor = redactor
        self._sizes_before: dict[str, int] = {}
        self._whole_names: dict[str, str] = {}
        self._source_errors = SourceErrors()
        self._unlisted: set[str] = set()
        self.explain: Explain = unexplained
        self.refused_times = RefusedTimes(outcomes)
        self.mismatches = Mismatches()
        self.on_outcome: list[Callable[[FileOutcome], None]] = []
        self.defers_newer = self.defers_by_name = False
        """Whether a file that is newer at the destination is left to the next part of an attempt,
        which compares it otherwise."""
        self.deferred: set[str] = set()
        """The files that were left to the next part; if that needs no names, the first alone."""
        self.cut_off: dict[str, int] = {}
        """Files that were cut off when this attempt was stopped, and the size in bytes that each
        had at the destination before it; MISSING_SIZE if its folder was listed without it."""
        self.duplicates: dict[str, bool] = {}
        """Names that rclone takes for another name in the same folder of the source, so that it
        passed them over; and whether each is a folder."""
        self.unsized: dict[str, bool] = {}
        """Files that were copied without a known size, and whether their source broke off."""
        self.unclean_names: set[str] = set()
        """Files with unclean names that a filter of this attempt excluded."""
        self.unlisted_at_destination: set[str] = set()
        """Folders of the destination that could not be listed whole in this attempt; the root's
        path is empty. rclone copies the files below them as if they were not there."""

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The files that this attempt was to copy, and that have no outcome."""
        return (*dict(self.cut_off), *dict(self._sizes_before))

    def begin_attempt(self) -> None:
        """Forget the files of the attempt before."""
        self._sizes_before.clear()
        self._whole_names.clear()
        self._source_errors = SourceErrors()
        self._unlisted = set()
        self.cut_off = {}
        self.deferred = set()
        self.duplicates = {}
        self.unclean_names = set()
        self.unlisted_at_destination = set()
        self.refused_times.begin_attempt()
        self.mismatches.begin_attempt()

    def is_unlisted_at_destination(self, path: str) -> bool:
        """Whether a file is below a folder of the destination that could not be listed."""
        folders = self.unlisted_at_destination
        if not folders:
            return False
        parts = path.split("/")
        return any("/".join(parts[:depth]) in folders for depth in range(len(parts)))

    def take_line(self, message: str, name: str, kind: str, size: object) -> None:
        """Take a line about a file that is no error. `kind` is the Go type of what it names."""
        if message.startswith(_NEEDED):
            self._sizes_before[name] = MISSING_SIZE
            if (cut := _cut_for_upload(name)) != name:
                # rclone may shorten two names to the same one; the log cannot distinguish them.
                self._whole_names[cut] = cut if cut in self._whole_names else name
        elif existing := _SIZE.match(message):
            self._sizes_before[name] = int(existing[1])
        elif _COPIED.match(message):
            is_broken = bool(self._source_errors.pop(name))
            known = _bytes(size)
            if known is None and (is_broken or len(self.unsized) < _MOST_UNSIZED):
                self.unsized[name] = is_broken
            self._add(FileOutcome(name, FileState.TRANSFERRED, known))
            self.refused_times.transferred(name)
        elif message in _SKIPPED:
            if self.defers_newer and _SKIPPED[message] is Reason.OLDER:
                self._defer(name)
                return
            self._add_skipped(name, _SKIPPED[message])
        elif _SAME_TIME.match(message):
            self._add_skipped(name, Reason.SAME)
        elif message.startswith(_DRY_RUN) and kind != "*fs.Dir":
            reason = Reason.DRY_RUN
            known = size if isinstance(size, int) else None  # rclone leaves out one of -1
            self._add(FileOutcome(name, FileState.SKIPPED, known, reason=reason))
        elif message == _EXCLUDED:
            if kind != "*fs.Dir" and is_unclean(name) and len(self.unclean_names) <= MOST_NAMES:
                self.unclean_names.add(name)
        elif duplicate := _DUPLICATE.match(message):
            self._take_duplicate(message, name, is_folder=duplicate[1] == "directory")
        elif not self.mismatches.take_line(message, name):
            self._source_errors.record(message, name)

    def take_error(self, message: str, name: str, kind: str, *, is_stopping: bool) -> None:
        """Take an error. While the copy `is_stopping`, a cancellation is no failure."""
        if unlisted := _DESTINATION_UNLISTED.match(message):
            # It names the root by a description of the storage, and a folder by its path.
            self.unlisted_at_destination.add("" if unlisted[1] else name)
        if MAX_DURATION_REACHED in message:
            return  # The service set that limit; files that were not begun have not failed.
        if unlisted := _UNLISTED.match(message):
            self._take_unlisted(unlisted[1])
            return
        is_cancellation = is_stopping and CANCELLED in message
        if self.refused_times.concern(message):
            if not is_cancellation:
                failure = classify(message, Side.DESTINATION, self._redactor)
                self.refused_times.take_line(message, name, failure)
            return
        if self.mismatches.take_error(message):
            return
        failed = _FAILED.match(message)
        if failed is None:
            if not is_cancellation:
                # Such an error names a folder by its path, or describes the root of a remote.
                path = name if kind in ("string", "*fs.Dir") else ""
                failure = classify(message, None, self._redactor)
                self._outcomes.add_error(self.explain(path, message, failure), path)
            return
        path = name if failed[0] == FAILED_TO_COPY else self._whole_name(name)
        if is_cancellation:
            if path in self._sizes_before:
                self.cut_off[path] = self._sizes_before.pop(path)
            return
        text = message.removeprefix(FAILED_TO_COPY)
        if source_error := self._source_errors.pop(name, text):
            text = f"error reading source: {source_error}"
        # An error that does not mention the source occurred while the destination was written.
        failure = classify(text, Side.DESTINATION, self._redactor)
        if self.refused_times.take_failure(path, text, failure):
            self._sizes_before.pop(path, None)
            return
        explained = partial(self.explain, path, text, failure)
        if self.mismatches.take_failure(path, text, explained, is_stopping=is_stopping):
            self._sizes_before.pop(path, None)
            return
        failure = explained()
        if failure.retryable and is_shortened(path):
            failure = replace(failure, retryable=False)  # it could not be named
        self._add(FileOutcome(path, FileState.FAILED, error=failure))

    def _take_duplicate(self, message: str, name: str, *, is_folder: bool) -> None:
        """Keep a name that rclone passed over: without this its files would be lost in silence.

        For rclone two names are one that differ only in how their letters are composed, or in
        case if that makes no difference at the destination.
        """
        if name in self.duplicates or len(self.duplicates) < _MOST_DUPLICATES:
            self.duplicates[name] = is_folder
            return
        failure = classify(message, Side.SOURCE, self._redactor)
        if is_folder:
            self._outcomes.add_error(failure, name)
        else:
            self._add(FileOutcome(name, FileState.FAILED, error=failure))

    def _take_unlisted(self, folder: str) -> None:
        if folder in self._unlisted:
            return
        self._unlisted.add(folder)
        text = (
            "The files below this folder were not copied, because rclone cannot list it: an empty "
            "part of its name is not at the beginning. Copy it by a request of its own, with the "
            "whole bucket as the source, or rename its files."
        )
        failure = Failure("name_refused", text, retryable=False, side=Side.SOURCE)
        self._outcomes.add_error(failure, f"{folder}/")

    def _defer(self, name: str) -> None:
        self._sizes_before.pop(name, None)
        if self.defers_by_name or not self.deferred:
            self.deferred.add(name)

    def _add_skipped(self, name: str, reason: Reason) -> None:
        size = self._sizes_before.get(name) if reason is Reason.SAME else None
        if reason is Reason.SAME and name in self.mismatches.without:
            # With `compare: checksum`: otherwise rclone copies a file if it cannot compare that.
            self._outcomes.warn("compared_by_size", name, _NO_CHECKSUM)
        self._add(FileOutcome(name, FileState.SKIPPED, size, reason=reason))

    def _add(self, outcome: FileOutcome) -> None:
        self._sizes_before.pop(outcome.path, None)
        self.mismatches.without.discard(outcome.path)
        if self._whole_names:
            self._whole_names.pop(_cut_for_upload(outcome.path), None)
        for take in self.on_outcome:
            take(outcome)
        self._outcomes.add(outcome)

    def _whole_name(self, name: str) -> str:
        """The name of a file, from the name of its upload."""
        cut = _PARTIAL.sub("", name)
        return self._whole_names.get(cut, cut)


def _bytes(size: object) -> int | None:
    """The size of a file; None for one whose source tells no size, which rclone logs as -1."""
    known = size if isinstance(size, int) else 0
    return known if known >= 0 else None


def _cut_for_upload(path: str) -> str:
    """The path as the name of its upload begins: whole, or without its last bytes."""
    if len(path.rpartition("/")[2].encode("utf-8", "replace")) <= _LONGEST_WHOLE:
        return path
    return path.encode("utf-8", "replace")[:-_PARTIAL_BYTES].decode("utf-8", "ignore")
