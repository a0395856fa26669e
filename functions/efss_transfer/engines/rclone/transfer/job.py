"""Runs a whole transfer: limits, tuning, as many attempts as needed, verification."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.engines import sharding
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer import limits
from efss_transfer.engines.rclone.transfer.comparison.after_copy import AfterCopy
from efss_transfer.engines.rclone.transfer.comparison.false_checksums import FalseChecksums
from efss_transfer.engines.rclone.transfer.comparison.file_times import (
    FileTimes,
    TimeRules,
    by_upload,
    compares,
    looks_later,
)
from efss_transfer.engines.rclone.transfer.comparison.recount import Recount
from efss_transfer.engines.rclone.transfer.copier import Copier
from efss_transfer.engines.rclone.transfer.early_stop import EarlyStop
from efss_transfer.engines.rclone.transfer.hangs.watch import HangWatch
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.rclone.transfer.tuner import CALLS_AT_ONCE, Tuner
from efss_transfer.engines.rclone.transfer.tuning import Tuning
from efss_transfer.engines.retry import RetrySchedule
from efss_transfer.model.events import Event, Phase
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure, Json
from efss_transfer.model.storage_traits import traits
from efss_transfer.model.verification import Verification

# With less memory rclone collects its garbage from the start. With 256 MiB the listing of 20,000
# files used all of it and rclone ended (RLIMIT_DATA), although Go aims at four fifths.
_MEMORY_WITHOUT_COLLECTION: Final = 1 << 30


class Transfer:
    """One transfer. `concurrent_runs` is the number of runs in this process, with this one."""

    def __init__(
        self,
        run: RunContext,
        request: TransferRequest,
        settings: Settings,
        concurrent_runs: int,
    ) -> None:
        self._run = run
        self._options = request.options
        self._settings = settings
        self._selection = sharding.select_shard(request.selection)
        self._request = replace(request, selection=self._selection)
        self._progress = ProgressReporter(run)
        self._early_stop = EarlyStop(run, self._progress, self._options.on_error)
        self._hangs = HangWatch(run, self._request, self._progress.stalls)
        self._limits = limits.LimitWatch(run, self._progress.stalls)
        self._jobs = JobRunner(run, self._progress, self._should_stop)
        probe = SourceProbe(
            run,
            self._progress,
            needs_bucket=not self._options.create_bucket,
            leaves_bucket=looks_later(self._request),
            note_folder=self._hangs.note_folder,
        )
        self._names = probe.names
        self._tuner = Tuner(run, probe, self._request, concurrent_runs)
        recount = Recount(run, self._jobs, self._selection)
        self._times = FileTimes(run, probe, self._request)
        self._time_rules = TimeRules()
        self._checksums = FalseChecksums(run, self._jobs, probe, self._tuner)
        self._copier = Copier(
            run,
            self._jobs,
            self._early_stop,
            self._hangs,
            self._tuner,
            recount,
            self._times,
            self._checksums,
            self._selection,
        )
        self._after_copy = AfterCopy(
            run,
            self._jobs,
            self._progress,
            self._request,
            self._early_stop,
            self._hangs,
            self._tuner,
            recount,
            self._copier,
            self._checksums,
        )

    @property
    def verification(self) -> Verification | None:
        """What was compared after the copy; None if nothing was."""
        return self._after_copy.verification

    @property
    def attempts(self) -> int:
        """The number of attempts so far."""
        return self._progress.attempt

    @property
    def status(self) -> dict[str, Json]:
        """`job/status` of the last job that copied."""
        return self._copier.status

    @property
    def stats(self) -> dict[str, Json]:
        """`core/stats` after the last job."""
        return self._jobs.stats

    @property
    def tuning(self) -> Tuning | None:
        """What was chosen to make the copy fast; None before that."""
        return self._tuner.chosen

    def folder_of(self, source: RemotePath) -> str:
        """The fs to which the paths of the copied files are relative."""
        return source.fs if self._copier.single_file is None else source.parent

    def copy(self, source: RemotePath, destination: RemotePath) -> Generator[Event, None, None]:
        """Copy the content of a folder, a file, or the listed files; then verify the copy.

        Raises CopyRefused with the cause if nothing could be copied at all.
        """
        if self._settings.memory_bytes < _MEMORY_WITHOUT_COLLECTION:
            # The garbage of listing a large tree alone would fill the memory.
            self._jobs.collect_garbage()
        if self._options.bandwidth_limit is not None:
            self._run.rc.limit_bandwidth(self._options.bandwidth_limit)
        with self._names.noted(source):
            yield from limits.enforce(self._run, self._jobs, source, self._request, CALLS_AT_ONCE)
            yield from self._tuner.choose(source, destination)
        if self._needs_checksums(source, destination):
            names = self._checksums.names(self._selection)
            folders = source.fs, destination.fs
            yield from self._checksums.look(source, destination, folders, names)
        self._time_rules = yield from self._rules(source, destination, is_first=True)
        yield from self._hangs.find_loops(self._jobs, source)
        self._after_copy.begin(source)
        refusal = yield from self._copy_with_retries(source, destination)
        self._run.outcomes.close()
        if refusal is not None:
            raise CopyRefused(refusal)
        yield from self._after_copy.check(source, destination)

    def _copy_with_retries(
        self, source: RemotePath, destination: RemotePath
    ) -> Generator[Event, None, Failure | None]:
        """Make as many attempts as are needed and allowed. Return the failure of the last one if
        it could not begin.
        """
        paths = listed = self._listed_paths
        schedule = RetrySchedule(
            self._options.attempts, self._settings.retry_seconds, self._run.context
        )
        while True:
            self._begin_attempt(paths, is_last=schedule.is_last())
            refusal: Failure | None = None
            try:
                yield from self._attempt(source, destination, paths, is_last=schedule.is_last())
            except CopyRefused as error:
                refusal = error.failure
            self._limits.check()
            retryable = self._run.outcomes.held_back_failures
            if refusal is not None and refusal.retryable:
                retryable = (*retryable, refusal)
            if not retryable or self._early_stop.rules_out_retry:
                return refusal
            if (seconds := schedule.after(retryable)) is None:
                return refusal
            yield from self._wait(seconds)
            self._tuner.slow_down()
            self._run.rc.clear_fs_cache()
            paths = listed if refusal is not None else self._paths_to_retry(listed)
            if paths is listed:
                # What an earlier attempt has copied is not copied again.
                self._time_rules = yield from self._rules(source, destination, is_first=False)

    def _needs_checksums(self, source: RemotePath, destination: RemotePath) -> bool:
        """Whether checksums decide if a file is copied that is there already. An object that its
        own storage has copied has another time.
        """
        is_compared = compares(self._request) and not self._options.dry_run
        by_checksum = self._options.compare == "checksum"
        return is_compared and (by_checksum or _is_copied_by_object_store(source, destination))

    def _rules(
        self, source: RemotePath, destination: RemotePath, *, is_first: bool
    ) -> Generator[Event, None, TimeRules]:
        """How to compare files that the destination may have already."""
        rules = yield from self._times.rules(source, destination, is_first=is_first)
        has_none = self._checksums.disbelieved is not None
        if has_none and _is_copied_by_object_store(source, destination):
            return by_upload(self._request)
        return rules

    def _attempt(
        self,
        source: RemotePath,
        destination: RemotePath,
        paths: tuple[str, ...] | None,
        *,
        is_last: bool,
    ) -> Iterator[Event]:
        if self._time_rules.newer_first:
            # rclone would skip a file that is newer at the destination even if its size differs.
            self._tuner.rules = {"UpdateOlder": True}
            with self._run.log.deferring_newer(by_name=paths is not None):
                yield from self._copier.copy(source, destination, paths)
            deferred = self._run.log.deferred
            if self._should_stop() or not deferred:
                return
            # A part compares those as the rules say. It passes over what the first one copied.
            paths = paths and tuple(path for path in paths if path in deferred)
            self._run.outcomes.begin_attempt(last=is_last, expected=paths or ())
            self._run.log.begin_attempt()
        self._tuner.rules = self._time_rules.config
        yield from self._copier.copy(source, destination, paths)

    def _should_stop(self) -> bool:
        watches = (
            self._early_stop,
            self._hangs,
            self._limits,
            self._copier.untimed,
            self._checksums,
        )
        return any(watch.should_stop() for watch in watches)

    def _begin_attempt(self, paths: tuple[str, ...] | None, *, is_last: bool) -> None:
        self._run.context.observer.attempt(self._progress.attempt)
        self._run.begin_attempt(self._progress.attempt)
        self._early_stop.begin_attempt()
        self._run.outcomes.begin_attempt(last=is_last, expected=paths or ())
        self._run.log.begin_attempt()

    def _wait(self, seconds: float) -> Iterator[Event]:
        """Wait before the next attempt."""
        self._progress.next_attempt_at = time.monotonic() + seconds
        self._progress.phase = Phase.WAITING
        yield from self._jobs.pause(seconds, drain=self._early_stop.has_stopped)
        self._progress.phase = Phase.COPYING
        self._progress.attempt += 1

    @property
    def _listed_paths(self) -> tuple[str, ...] | None:
        files = self._selection.files
        return None if files is None else tuple(file.path for file in files)

    def _paths_to_retry(self, listed: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The paths of the next attempt: a few files by their names; or all again if many have
        failed, or if it is unknown which are missing. No outcome is reported twice.
        """
        if self._copier.single_file is not None or self._early_stop.has_stopped:
            return listed
        return self._run.outcomes.files_to_retry or listed


def _is_copied_by_object_store(source: RemotePath, destination: RemotePath) -> bool:
    """Whether both sides are one object store."""
    is_one = source.remote.name == destination.remote.name
    return is_one and traits(source.remote.backend).has_buckets
