"""Makes one attempt at a copy: of a folder, of a single file, or of listed files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from efss_transfer.engines import sharding
from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.jobs import JobRunner, TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.false_checksums import FalseChecksums
from efss_transfer.engines.rclone.transfer.comparison.file_times import FileTimes
from efss_transfer.engines.rclone.transfer.comparison.recount import Recount
from efss_transfer.engines.rclone.transfer.duplicates import Duplicates
from efss_transfer.engines.rclone.transfer.early_stop import EarlyStop
from efss_transfer.engines.rclone.transfer.hangs.watch import HangWatch
from efss_transfer.engines.rclone.transfer.linked_folders import LinkedFolders, may_link_folders
from efss_transfer.engines.rclone.transfer.listed_files import ListedFiles
from efss_transfer.engines.rclone.transfer.listing_check import ListingCheck
from efss_transfer.engines.rclone.transfer.partial_files import PartialFiles, Placement
from efss_transfer.engines.rclone.transfer.path_kind import (
    CopyRefused,
    PathInspector,
    PathKind,
    confirm_single_file,
    not_a_folder,
    refusal,
)
from efss_transfer.engines.rclone.transfer.times.untimed_copies import UntimedCopies
from efss_transfer.engines.rclone.transfer.tuner import Tuner
from efss_transfer.engines.rclone.transfer.unclean_files import (
    WITHOUT_UNCLEAN,
    UncleanFiles,
    are_merged,
)
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, Json, Side, State, Totals

_ANYWAY: Final = {"IgnoreTimes": True, "IgnoreExisting": False, "UpdateOlder": False}


class Copier:
    """Copies from `source` to `destination`. Its methods are generators: they yield events while
    they wait, and raise CopyRefused if nothing could be copied at all.
    """

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        early_stop: EarlyStop,
        hangs: HangWatch,
        tuner: Tuner,
        recount: Recount,
        times: FileTimes,
        checksums: FalseChecksums,
        selection: Selection,
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._tuner = tuner
        self._times = times
        self._selection = selection
        self._early_stop = early_stop
        self._hangs = hangs
        self._recount = recount
        self._inspector = PathInspector(run, jobs)
        self._listing_check = ListingCheck(run, jobs, self._inspector, selection)
        self._listed_files = ListedFiles(
            run,
            jobs,
            lambda: early_stop.has_stopped or hangs.should_stop() or self._begins_again(),
            self._begins_again,
        )
        self._checksums = checksums
        self.untimed = UntimedCopies(run)
        """Decides which files are copied without their times."""
        self._linked_folders: LinkedFolders | None = None
        self._duplicates = Duplicates(run, jobs)
        self._unclean_files = UncleanFiles(run, jobs, selection)
        self.single_file: Placement | None = None
        """Where the source arrives, once it has proved to be a single file."""
        self.selects_nothing = False
        """Whether the source exists, and no file of it belongs to this shard."""
        self.status: dict[str, Json] = {}
        """`job/status` of the last job that copied."""

    def copy(
        self, source: RemotePath, destination: RemotePath, paths: tuple[str, ...] | None
    ) -> Iterator[Event]:
        """Copy the files `paths`; None means the whole source, be it a folder or a file."""
        try:
            yield from self._copy(source, destination, paths)
        finally:
            self._checksums.give_up()

    def _copy(
        self, source: RemotePath, destination: RemotePath, paths: tuple[str, ...] | None
    ) -> Iterator[Event]:
        if self._linked_folders is None and may_link_folders(source, self._selection):
            self._linked_folders = LinkedFolders(self._run, self._jobs, self._tuner.pages)
            self._run.log.on_outcome(self._linked_folders.note)
        self._early_stop.outage.begin_copy()
        if paths is None:
            yield from self._copy_folder(source, destination)
        elif paths:
            yield from self._copy_listed(source, destination, paths)
        else:
            # None of the listed files is in this shard; but the source must be readable.
            yield from self._inspector.confirm_folder(source)
            self.selects_nothing = True
        if (untimed := self.untimed.remaining()) and self.single_file is None:
            yield from self._copy_listed(source, self.untimed.without_times(destination), untimed)
        self._early_stop.outage.settle()
        if not self._early_stop.has_stopped:
            yield from self._recount.find_lost(source)
        if self._linked_folders is not None and not self._early_stop.has_stopped:
            yield from self._linked_folders.check(source)
        is_whole = not (self._early_stop.has_stopped or self._run.log.deferred)
        if paths is None and self.single_file is None and is_whole:
            yield from self._listing_check.look_at_indexes(source)

    @property
    def unclean_names(self) -> frozenset[str]:
        """The files that were copied apart from all others, because of their names."""
        return self._unclean_files.free

    def _copy_folder(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        # Most sources are folders, so this is tried without asking first.
        are_apart = are_merged(source, destination)
        yield from self._listing_check.look_for_unread(source)
        is_complete = False
        while not is_complete:
            to = self.untimed.begin(destination)
            self._hangs.begin(source, to, source.fs)
            rules = [*self._hangs.rules, *([WITHOUT_UNCLEAN] if are_apart else [])]
            fs = self._checksums.without_false(source, destination).fs
            yield from self._run_copy(
                "sync/copy", {"srcFs": fs, "dstFs": to.fs}, Placement(to.fs), rules
            )
            is_complete = not (yield from self._hangs.settle(self._jobs, source, to))
            is_complete = not self.untimed.settle() and is_complete
            if (yield from self._checksums.settle(source, to)):
                is_complete = False
                yield from self._copy_unsure(source, to)
        error = self._inspector.true_cause(self._error)
        if error_codes.MAX_DURATION_REACHED in error:
            raise TransferInterrupted(State.INCOMPLETE)
        if not error and not self._early_stop.has_stopped:
            yield from self._listing_check.settle(source)
            self._recount.begin(rules)
        outcomes = self._run.outcomes
        if error and not self._is_explained:
            if error_codes.IS_A_FILE not in error:
                raise CopyRefused(self._failure(error, source, destination))
            yield from self._copy_file(source, destination)
            return
        self._listing_check.add_unread()
        if are_apart and self._run.log.unclean_names and not self._early_stop.should_stop():
            yield from self._unclean_files.find(source)
            if (names := sorted(self.unclean_names)) and not self._early_stop.should_stop():
                yield from self._copy_listed(source, destination, tuple(names))
        yield from self._duplicates.report(source)
        is_pending = self.untimed.is_pending or self._run.log.deferred or self._is_explained
        if outcomes.totals == Totals() and not is_pending:
            yield from self._inspector.confirm_empty(source)
            yield from self._recount.confirm_empty(source)

    def _copy_listed(
        self, source: RemotePath, destination: RemotePath, paths: tuple[str, ...]
    ) -> Iterator[Event]:
        at_once, outcomes = self._tuner.files_at_once, self._run.outcomes
        while paths:
            to = destination if destination.options else self.untimed.begin(destination)
            self._hangs.begin(source, to, source.fs)
            read = self._checksums.without_false(source, destination)
            yield from self._listed_files.copy(read, to, paths, self._tuner.config, at_once)
            is_stopped = yield from self._hangs.settle(self._jobs, source, to)
            is_stopped = self.untimed.settle() or is_stopped
            if (yield from self._checksums.settle(source, to)):
                yield from self._copy_unsure(source, to)
            elif not is_stopped:
                return
            left = outcomes.unreported
            paths = tuple(path for path in paths if path in left or not outcomes.is_reported(path))

    def _copy_unsure(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Copy files again whose copies a stop has kept from being compared."""
        if paths := self._run.log.mismatches.take_unsure():
            read = self._checksums.without_false(source, destination)
            config, at_once = {**self._tuner.config, **_ANYWAY}, self._tuner.files_at_once
            yield from self._listed_files.copy(read, destination, paths, config, at_once)

    def _copy_file(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Copy a single file, because rclone said that the source or the destination is one."""
        kind = yield from self._inspector.kind_of(source)
        if kind is PathKind.FOLDER:
            # For S3, rclone calls whatever it cannot look at a file, and says why only the first
            # time. This look raises the true cause.
            if not destination.is_root:
                yield from self._inspector.kind_of(destination)
            raise not_a_folder(Side.DESTINATION)
        confirm_single_file(source, kind, self._selection)
        yield from self._recount.confirm_file(source)
        if (shard := self._selection.shard) and not sharding.contains(shard, source.name):
            self.selects_nothing, self.status = True, {}
            return
        if (
            destination.is_folder
            or (yield from self._inspector.kind_of(destination)) is PathKind.FOLDER
        ):
            folder, name = destination.fs, source.name
        else:
            folder, name = destination.parent, destination.name
        if f"{folder.rstrip('/')}/{name}" == f"{source.parent.rstrip('/')}/{source.name}":
            # Not earlier: only now it is known that the destination is a folder.
            text = "The destination is the source itself. Choose another folder or file name."
            raise refusal("unsupported", text, None)
        self.single_file = Placement(folder, name)
        rules = yield from self._times.rules_of_file(source, self.single_file)
        self._tuner.rules = rules.config
        self.untimed.begin(destination)
        self._hangs.begin(source, destination, source.parent)
        yield from self._run_file(source, self.single_file)
        if self.untimed.remaining():
            options = self.untimed.without_times(destination).options
            to = Placement(folder.replace(":", f"{options}:", 1), name)
            yield from self._run_file(source, to)
        if (yield from self._checksums.settle(source, destination, self.single_file)):
            read = self._checksums.without_false(source, destination)
            yield from self._run_file(read, self.single_file)
        if (yield from self._hangs.settle(self._jobs, source, destination)):
            return
        if self._error and not self._is_explained:
            if "HeadObject" in self._error:
                # S3 answers HEAD without a body, so wrong keys look like missing permissions. The
                # answer to this lookup has a body, and the error is raised from it.
                yield from self._inspector.kind_of(destination)
                if source.remote.backend == "s3":
                    # The destination can be looked up, so the source cannot.
                    raise CopyRefused(self._run.classify(self._error, Side.SOURCE))
            raise CopyRefused(self._failure(self._error, source, destination))

    def _run_file(self, source: RemotePath, placement: Placement) -> Iterator[Event]:
        parameters = {
            "srcFs": source.parent,
            "srcRemote": source.name,
            "dstFs": placement.folder,
            "dstRemote": placement.name,
        }
        yield from self._run_copy("operations/copyfile", parameters, placement)

    @property
    def _is_explained(self) -> bool:
        """Whether the log says why the copy ended with an error."""
        log = self._run.log
        has_found = log.refused_times.has_found or log.mismatches.has_found
        has_failed = self._run.outcomes.failures_in_attempt or self._early_stop.has_stopped
        return bool(has_failed or has_found)

    def _begins_again(self) -> bool:
        """Whether the copy is stopped to be begun again in another way."""
        return self.untimed.should_stop() or self._checksums.should_stop()

    @property
    def _error(self) -> str:
        return str(self.status.get("error", ""))

    def _failure(self, error: str, source: RemotePath, destination: RemotePath) -> Failure:
        return self._run.classify(error, self._inspector.failing_side(source, destination))

    def _run_copy(
        self,
        call: str,
        parameters: Mapping[str, Any],
        placement: Placement,
        rules: Sequence[str] = (),
    ) -> Iterator[Event]:
        self.status = {}
        context = self._run.context
        seconds = min(context.last_start, context.deadline) - time.monotonic()
        if seconds <= 0:
            raise TransferInterrupted(State.INCOMPLETE)
        job = yield from self._jobs.run(
            call,
            {
                "_config": self._tuner.config | rc_config.cutoff(seconds),
                **rc_config.filter_parameter(self._selection, rules),
                **parameters,
            },
            PartialFiles(self._run, placement).remove,
        )
        if job.id:  # Zero if the job was stopped and did not end in time.
            self.status = self._run.rc.job_status(job.id)
