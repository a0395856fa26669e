"""Lists one folder, or the file that a path is."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any, Final

from efss_transfer.engines.base import outcome_of
from efss_transfer.engines.rclone.browse.list_reader import ListReader, time_of
from efss_transfer.engines.rclone.browse.lost_entries import LostEntries
from efss_transfer.engines.rclone.browse.one_end import failure_of
from efss_transfer.engines.rclone.ftp.listings import UnreadEntries
from efss_transfer.engines.rclone.http_index.check import IndexCheck
from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.path_kind import (
    CopyRefused,
    PathInspector,
    PathKind,
    refusal,
    source_not_found,
)
from efss_transfer.model.events import Event, FileDone
from efss_transfer.model.listing import FolderEntry, FolderListing
from efss_transfer.model.result import Failure, Result
from efss_transfer.model.storage_traits import traits

_OPTIONS: Final = {"noMimeType": True}
# In an object store the time of the upload: for any other, each object would have to be asked for.
_CONFIG: Final = {"UseServerModTime": True}
_FILE_WITH_SLASH: Final = "The path is a file, but it ends with `/`. Remove the `/` from `path`."


class FolderLister:
    """Lists the first `limit` entries of a folder. `listing` has them after `read`.

    `must_exist`: whether a prefix of an object store must be that of an object.
    """

    def __init__(self, limit: int, *, must_exist: bool = True) -> None:
        self._limit = limit
        self._must_exist = must_exist
        self._entries: tuple[FolderEntry, ...] = ()
        self._count = 0
        self._is_complete = False
        self.failure: Failure | None = None
        """Why the folder cannot be listed, if rclone or the storage said so."""
        self.is_file = False
        """Whether the path is a file."""
        self._unreadable: set[str] = set()

    def read(self, run: RunContext, folder: RemotePath) -> None:
        """List the folder. Raises CopyRefused if that is refused, and TransferInterrupted."""
        try:
            outcome_of(self._list(run, folder), self._note)
        except CopyRefused as refused:
            # rclone's log may have less to say of it.
            self.failure = replace(refused.failure, side=None)
            raise

    def listing(self, events: Iterable[Event], result: Result) -> FolderListing:
        """The listing, given how its session has ended, and the events that are left of it."""
        for event in events:
            self._note(event)
        if not self._is_complete:
            return FolderListing(failure=self.failure or failure_of(result))
        errors = tuple(replace(group, side=None) for group in result.errors)
        entries = tuple(entry for entry in self._entries if entry.name not in self._unreadable)
        count = self._count - len(self._entries) + len(entries)
        return FolderListing(entries, count, errors)

    def _note(self, event: Event) -> None:
        """Note an entry that cannot be read, and that the listing may have nevertheless."""
        if isinstance(event, FileDone) and event.outcome.error is not None:
            self._unreadable.add(event.outcome.path)

    def _list(self, run: RunContext, folder: RemotePath) -> Generator[Event, None, None]:
        jobs = JobRunner(run, ProgressReporter(run))
        lost = run.log.passed_over = LostEntries(run, folder)
        has_buckets = traits(folder.remote.backend).has_buckets
        reader = ListReader(self._limit, folders_have_times=not has_buckets)
        parameters = {"fs": folder.fs, "remote": "", "opt": _OPTIONS, "_config": _CONFIG}
        job = yield from jobs.run("operations/list", parameters, take=reader.take)
        if error_codes.IS_A_FILE in job.error:
            entry = yield from self._file(run, jobs, folder)
            self._entries, self.is_file = (entry,), True
            self._count = 1
        elif job.error:
            raise _refused(run, folder, job.error)
        else:
            if reader.count == 0 and (self._must_exist or not has_buckets):
                yield from self._confirm_empty(run, jobs, folder)
                lost.settle()
            yield from self._find_unread(run, jobs, folder, lost)
            self._entries, self._count = reader.first(), reader.count
        self._is_complete = True

    def _file(
        self, run: RunContext, jobs: JobRunner, path: RemotePath
    ) -> Generator[Event, None, FolderEntry]:
        """The entry of a path that is a file, or that rclone takes for one."""
        kind = yield from PathInspector(run, jobs).kind_of(path)
        if kind is PathKind.MISSING:
            raise source_not_found(path.side)
        if path.path.endswith("/"):
            raise refusal("not_a_directory", _FILE_WITH_SLASH, path.side)
        file = {"fs": path.parent, "remote": path.name, "opt": _OPTIONS, "_config": _CONFIG}
        job = yield from jobs.run("operations/stat", file)
        item: dict[str, Any] | None = job.output.get("item")
        if job.error:
            raise _refused(run, path, job.error)
        if item is None:
            raise source_not_found(path.side)
        size = int(item["Size"])
        return FolderEntry(
            str(item["Name"]),
            bool(item["IsDir"]),
            size if size >= 0 else None,
            time_of(str(item["ModTime"])),
        )

    @staticmethod
    def _confirm_empty(
        run: RunContext, jobs: JobRunner, folder: RemotePath
    ) -> Generator[Event, None, None]:
        """Confirm that a path without entries is an empty folder."""
        try:
            yield from PathInspector(run, jobs).confirm_empty(folder)
        except CopyRefused as refused:
            if refused.failure.code != "not_a_directory" or folder.is_root:
                raise
            raise refusal("not_a_directory", _FILE_WITH_SLASH, folder.side) from None

    @staticmethod
    def _find_unread(
        run: RunContext, jobs: JobRunner, folder: RemotePath, lost: LostEntries
    ) -> Generator[Event, None, None]:
        """Add the entries that rclone cannot read in the listing of an FTP server, or leaves out of
        the index of a web server.
        """
        if folder.remote.backend == "http":
            yield from IndexCheck(run, jobs, recurse=False).check(folder)
        if folder.remote.backend != "ftp":
            return
        hidden = run.guessed_listings.get(folder.side)
        unread = UnreadEntries(run, jobs, folder, hidden=hidden, recurse=False)
        yield from unread.look()
        for finding in unread.found:
            lost.add_lost(finding)


def _refused(run: RunContext, path: RemotePath, error: str) -> CopyRefused:
    """What an error of rclone's means; of a missing folder, unless the server said more."""
    failure = run.classify(error, path.side)
    is_plain = failure == error_codes.classify(error, path.side, run.redactor)
    if is_plain and error_codes.DIRECTORY_NOT_FOUND in error:
        return source_not_found(path.side)
    return CopyRefused(failure)
