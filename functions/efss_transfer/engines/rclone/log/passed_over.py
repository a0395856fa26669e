"""Finds the entries of a listing that rclone passes over and only its log mentions.

Without this the transfer would succeed without these files: verification, plan and totals trust
the same listing. The messages are those of rclone 1.75 (backend/http/http.go,
backend/webdav/webdav.go, backend/s3/s3.go, and the other backends with buckets).

A listing of the destination says the same. An entry that rclone passes over there is copied again,
which loses nothing of the source, so it is no failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from efss_transfer.engines import globs, sharding
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import CANCELLED
from efss_transfer.engines.rclone.log.listing_lines import (
    BEGINNINGS,
    Finding,
    ListingRoot,
    Location,
    found_in,
)
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

_LISTS: Final = frozenset({"sync/copy", "operations/check"})
_ASKS: Final = "operations/size"
_MOST_UNSURE: Final = 1_000


@dataclass
class _Elsewhere:
    """Entries of one folder's listing that seem to be outside of it."""

    failure: Failure
    count: int = 0


class PassedOver:
    """Adds the entries that the source's listings lose to `outcomes`.

    `roots` has each side whose listings are read; a gateway tells of its own. The thread that
    reads the log calls `take` and `take_call`; the thread that drives the transfer calls the rest,
    once the lines of its job are read.
    """

    def __init__(
        self,
        outcomes: FileOutcomes,
        roots: Mapping[Side, ListingRoot],
        selection: Selection,
        redactor: Redactor,
    ) -> None:
        self._outcomes = outcomes
        self._roots = roots
        self._selection = selection
        self._redactor = redactor
        self._is_listing = self._asks_source = False
        self._unsure: list[Finding] = []
        self._elsewhere: dict[str, _Elsewhere] = {}
        self._failures: dict[str, Failure] = {}
        self.lost_at_destination = False
        """Whether a listing of the destination may have lost an entry in this attempt."""

    def begin_attempt(self) -> None:
        """Forget what the attempt before left open."""
        self.lost_at_destination = False
        self._unsure.clear()
        self._elsewhere.clear()

    def take_call(self, call: str, *, is_reply: bool) -> None:
        """Take the beginning or the reply of an rc call: only some list what is copied."""
        if call in _LISTS or (call == _ASKS and self._asks_source):
            self._is_listing = not is_reply

    def take(self, message: str, name: str, kind: str, *, verifying: bool, stopping: bool) -> bool:
        """Take a line of the log, and return whether it is about a listing."""
        if not message.startswith(BEGINNINGS):
            if self._elsewhere and kind.endswith(".Object"):
                self._saw(name)
            return False
        finding = found_in(message, name, kind, self._roots, self._redactor)
        if finding is None:
            return False
        if not self._is_listing or (stopping and CANCELLED in message):
            return True
        sides = (Side.SOURCE,) if self._asks_source else finding.sides
        self.lost_at_destination |= Side.DESTINATION in sides
        if verifying:
            self._take_in_verification(finding, sides)
        elif sides == (Side.SOURCE,):
            self._add(finding)
        elif Side.SOURCE in sides and len(self._unsure) < _MOST_UNSURE:
            self._unsure.append(finding)
        return True

    def take_unsure(self) -> tuple[Finding, ...]:
        """The entries that may be the source's or the destination's, once."""
        unsure = tuple(self._unsure)
        self._unsure.clear()
        return unsure

    @contextmanager
    def asking_source(self) -> Iterator[None]:
        """Take each entry that `operations/size` passes over for the source's."""
        self._asks_source = True
        try:
            yield
        finally:
            self._asks_source = self._is_listing = False

    def add_lost(self, finding: Finding) -> None:
        """Add an entry that proved to be the source's."""
        self._add(finding)

    def settle(self) -> None:
        """Add the entries that seemed to be outside of a folder of which no file was seen: the
        server spells that folder in another way.
        """
        for elsewhere in self._elsewhere.values():
            for _ in range(elsewhere.count):
                self._outcomes.add_error(elsewhere.failure)
        self._elsewhere.clear()

    def explain(self, path: str, found: Failure) -> Failure:
        """The failure of a path that a listing lost and the next attempt asked for by its name.

        rclone then says of most that they do not exist.
        """
        is_vague = found.code in ("source_not_found", "storage_error")
        known = self._failures.get(path) if is_vague and found.side is Side.SOURCE else None
        return known or found

    def _saw(self, path: str) -> None:
        """A file of a folder was seen, so its listing spells the folder right."""
        while path and self._elsewhere:
            path = path.rpartition("/")[0]
            self._elsewhere.pop(path, None)
        self._elsewhere.pop("", None)

    def _add(self, finding: Finding) -> None:
        if finding.location is Location.OUTSIDE:
            known = self._elsewhere.setdefault(finding.path, _Elsewhere(finding.failure))
            known.count += 1
            return
        if finding.location is Location.UNKNOWN:
            self._outcomes.add_error(finding.failure)
            return
        maybe_folder = finding.location is not Location.FILE
        if not globs.selects(self._selection, finding.path, maybe_folder=maybe_folder):
            return
        shard = self._selection.shard
        is_ours = shard is None or sharding.contains(shard, finding.path)
        if finding.location is Location.FOLDER or (maybe_folder and not is_ours):
            # Files of any shard may be in it.
            self._outcomes.add_error(finding.failure, finding.path)
        elif is_ours:
            if len(self._failures) < _MOST_UNSURE:
                self._failures[finding.path] = finding.failure
            outcome = FileOutcome(finding.path, FileState.FAILED, error=finding.failure)
            if maybe_folder:
                self._outcomes.add_passed_over(outcome)
            elif not self._outcomes.has_arrived(finding.path):
                self._outcomes.add(outcome)

    def _take_in_verification(self, finding: Finding, sides: tuple[Side, ...]) -> None:
        """A file that arrived, and that the source's listing now lacks, is not verified.

        One that the destination's listing lacks is reported as missing there.
        """
        if Side.SOURCE not in sides or not self._outcomes.has_arrived(finding.path):
            return
        side = Side.SOURCE if len(sides) == 1 else None
        self._outcomes.add_mismatch(finding.path, replace(finding.failure, side=side))
