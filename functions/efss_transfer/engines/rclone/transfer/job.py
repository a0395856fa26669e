"""Runs a whole transfer: limits, tuning, as many attempts as needed, verification."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.engines import sharding
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer import limits
from efss_transfer.engines.rclone.transfer.copier import Copier
from efss_transfer.engines.rclone.transfer.early_stop import EarlyStop
from efss_transfer.engines.rclone.transfer.hangs.watch import HangWatch
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.rclone.transfer.tuner import CALLS_AT_ONCE, Tuner
from efss_transfer.engines.rclone.transfer.tuning import Tuning
from efss_transfer.engines.rclone.transfer.unclean_files import WITHOUT_UNCLEAN
from efss_transfer.engines.rclone.transfer.verification import FilePair, Verifier
from efss_transfer.engines.retry import RetrySchedule
from efss_transfer.engines.unclean_names import place
from efss_transfer.model.events import Event, Phase
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure, Json
from efss_transfer.model.verification import Verification, VerifyMode, added

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
        needs_bucket = not self._options.create_bucket
        probe = SourceProbe(
            run, self._progress, needs_bucket=needs_bucket, note_folder=self._hangs.note_folder
        )
        self._tuner = Tuner(run, probe, self._request, concurrent_runs)
        self._copier = Copier(
            run, self._jobs, self._early_stop, self._hangs, self._tuner, self._selection
        )
        self.verification: Verification | None = None
        """What was compared after the copy; None if nothing was."""

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
        yield from limits.enforce(self._run, self._jobs, source, self._request, CALLS_AT_ONCE)
        yield from self._tuner.choose(source, destination)
        yield from self._hangs.find_loops(self._jobs, source)
        refusal = yield from self._copy_with_retries(source, destination)
        self._run.outcomes.close()
        if refusal is not None:
            raise CopyRefused(refusal)
        is_compared = self._is_to_verify and self._options.verify is not VerifyMode.NONE
        if not is_compared and (work := self._run.confirm_uploads()) is not None:
            yield from self._jobs.wait_for(work)
        if self._is_to_verify:
            self._progress.phase = Phase.VERIFYING
            self._run.forget()
            yield from self._verify(source, destination)
            self._report_missing_checksums()

    def _copy_with_retries(
        self, source: RemotePath, destination: RemotePath
    ) -> Generator[Event, None, Failure | None]:
        """Make as many attempts as are needed and allowed. Return the failure of the last one if
        it could not begin.
        """
        listed = self._listed_paths
        paths = listed
        schedule = RetrySchedule(
            self._options.attempts, self._settings.retry_seconds, self._run.context
        )
        while True:
            self._begin_attempt(paths, is_last=schedule.is_last())
            refusal: Failure | None = None
            try:
                yield from self._copier.copy(source, destination, paths)
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

    def _should_stop(self) -> bool:
        watches = (self._early_stop, self._hangs, self._limits)
        return any(watch.should_stop() for watch in watches)

    def _begin_attempt(self, paths: tuple[str, ...] | None, *, is_last: bool) -> None:
        self._run.context.observer.attempt(self._progress.attempt)
        self._run.begin_attempt(self._progress.attempt)
        self._early_stop.begin_attempt()
        self._run.outcomes.begin_attempt(last=is_last, expected=paths or ())
        self._run.log.begin_attempt()

    def _wait(self, seconds: float) -> Iterator[Event]:
        """Wait before the next attempt."""
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

    @property
    def _is_to_verify(self) -> bool:
        if self._options.dry_run or self._early_stop.has_stopped or self._copier.selects_nothing:
            return False  # Files that were never begun are not missing.
        files = self._selection.files or ()
        # The request may say which sizes and checksums must arrive.
        has_expectations = any(file.size is not None or file.hash for file in files)
        return has_expectations or self._options.verify is not VerifyMode.NONE

    def _verify(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Compare both sides. A file that cannot be compared has failed."""
        verifier = Verifier(self._run, self._jobs, self._options.verify)
        if (file := self._copier.single_file) is not None:
            name = file.name or source.name
            pairs = [FilePair(source.name, source.parent, file.folder, name)]
        elif self._selection.files is not None:
            pairs = [
                FilePair(file.path, source.fs, destination.fs, file.path, file)
                for file in self._selection.files
            ]
        else:
            unclean = self._copier.unclean_names
            rules = [*self._hangs.rules, *([WITHOUT_UNCLEAN] if unclean else [])]
            filters = rc_config.filter_options(self._selection, rules)
            self.verification = yield from verifier.verify_tree(
                source, destination, self._tree_config, filters
            )
            if unclean:
                pairs = [
                    FilePair(name, source.fs, destination.fs, place(name))
                    for name in sorted(unclean)
                    if not name.endswith("/")  # rclone cannot look it up in an object store
                ]
                more = yield from verifier.verify_files(pairs, self._tuner.files_at_once)
                self.verification = added(self.verification, more)
            return
        self.verification = yield from verifier.verify_files(pairs, self._tuner.files_at_once)

    def _report_missing_checksums(self) -> None:
        """Say that files were compared by size, where the request asks for checksums."""
        found = self.verification
        if self._options.verify is not VerifyMode.CHECKSUM or found is None:
            return
        if (count := found.compared_by_size) == 0:
            return
        text = f"{count} of {found.checked} files have no checksum of a kind that both sides have."
        if not self._options.require_checksum:
            self._run.outcomes.warn("compared_by_size", "", text, count)
            return
        text += " Set `options.verify` to `download`, or leave out `options.require_checksum`."
        self._run.outcomes.add_final_error(Failure("unsupported", text, retryable=False, side=None))

    @property
    def _tree_config(self) -> dict[str, object]:
        checkers = self._tuner.config["Checkers"]
        return {**rc_config.destination_lookup(self._selection), "Checkers": checkers}
