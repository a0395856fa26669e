"""Decides whose entries rclone passed over, where its log leaves that open."""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from efss_transfer.engines.rclone.log.listing_lines import Finding, Location
from efss_transfer.engines.rclone.log.passed_over import PassedOver
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.path_kind import (
    CopyRefused,
    PathInspector,
    PathKind,
)
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.ftp.listings import UnreadEntries


class ListingCheck:
    """Looks again at the source if both sides may have listed an entry that was passed over: both
    have the same type of storage and the same path.
    """

    def __init__(
        self, run: RunContext, jobs: JobRunner, inspector: PathInspector, selection: Selection
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._inspector = inspector
        self._selection = selection
        self._unread: UnreadEntries | None = None

    def look_for_unread(self, source: RemotePath) -> Iterator[Event]:
        """Look once for entries that rclone cannot read in the listings of an FTP server."""
        hidden = self._run.guessed_listings.get(source.side)
        if source.remote.backend != "ftp" or self._unread is not None:
            return
        from efss_transfer.engines.rclone.ftp.listings import UnreadEntries

        self._unread = UnreadEntries(self._run, self._jobs, source, hidden=hidden)
        if not (yield from self._unread.look()) and hidden is not None:
            self._run.outcomes.warn("listing_unchecked", "", "The server refused the comparison.")

    def look_at_indexes(self, source: RemotePath) -> Iterator[Event]:
        """Look whether the indexes of a web server are whole. Call it after the copy."""
        if source.remote.backend == "http":
            # Imported here, because only these sources need it: a cold start does not pay for it.
            from efss_transfer.engines.rclone.http_index.check import IndexCheck

            yield from IndexCheck(self._run, self._jobs, self._selection).check(source)

    def add_unread(self) -> None:
        """Add the entries that rclone cannot read to those that it lost."""
        if self._unread is not None and self._run.log.passed_over is not None:
            for finding in self._unread.found:
                self._run.log.passed_over.add_lost(finding)

    def settle(self, source: RemotePath) -> Iterator[Event]:
        """Add the entries that this attempt's copy of a folder lost. Call it after the copy."""
        passed_over = self._run.log.passed_over
        if passed_over is None:
            return
        if unsure := passed_over.take_unsure():
            yield from self._ask_source(source, passed_over, unsure)
        passed_over.settle()

    def _ask_source(
        self, source: RemotePath, passed_over: PassedOver, unsure: tuple[Finding, ...]
    ) -> Iterator[Event]:
        filters = rc_config.filter_parameter(self._selection)
        # The source alone is listed: whatever is passed over now is the source's.
        with passed_over.asking_source(), self._run.log.probing():
            job = yield from self._jobs.run("operations/size", {"fs": source.fs, **filters})
        for finding in unsure:
            if finding.location in (Location.UNKNOWN, Location.OUTSIDE):
                if job.error:
                    passed_over.add_lost(finding)
            elif not self._run.outcomes.is_reported(finding.path) and (
                yield from self._exists(source, finding.path)
            ):
                # The error has passed since the copy listed it.
                passed_over.add_lost(finding)

    def _exists(self, source: RemotePath, path: str) -> Generator[Event, None, bool]:
        """Whether the source has the entry, as far as is known."""
        entry = RemotePath(source.remote, posixpath.join(source.path, path), source.side)
        try:
            kind = yield from self._inspector.kind_of(entry)
        except CopyRefused:
            return True
        return kind is not PathKind.MISSING
