"""Compares both sides after the copy: as the request asks, and as far as its results are odd."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from efss_transfer.engines.rclone.http_index.sent_files import SentFiles
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.empty_files import EmptyFiles
from efss_transfer.engines.rclone.transfer.comparison.false_checksums import FalseChecksums
from efss_transfer.engines.rclone.transfer.comparison.recount import Recount
from efss_transfer.engines.rclone.transfer.comparison.unsized_files import UnsizedFiles
from efss_transfer.engines.rclone.transfer.comparison.vanished_folder import VanishedFolder
from efss_transfer.engines.rclone.transfer.copier import Copier
from efss_transfer.engines.rclone.transfer.early_stop import EarlyStop
from efss_transfer.engines.rclone.transfer.hangs.watch import HangWatch
from efss_transfer.engines.rclone.transfer.partial_files import Placement
from efss_transfer.engines.rclone.transfer.tuner import Tuner
from efss_transfer.engines.rclone.transfer.unclean_files import WITHOUT_UNCLEAN
from efss_transfer.engines.rclone.transfer.verification import FilePair, Verifier
from efss_transfer.engines.unclean_names import place
from efss_transfer.model.events import Event, Phase
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure
from efss_transfer.model.verification import Verification, VerifyMode, added


class AfterCopy:
    """The checks after the last attempt. `check` is a generator: it yields events while it waits.

    `request` has the selection of this shard.
    """

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        progress: ProgressReporter,
        request: TransferRequest,
        early_stop: EarlyStop,
        hangs: HangWatch,
        tuner: Tuner,
        recount: Recount,
        copier: Copier,
        checksums: FalseChecksums,
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._progress = progress
        self._options = request.options
        self._selection = request.selection
        self._early_stop = early_stop
        self._hangs = hangs
        self._tuner = tuner
        self._recount = recount
        self._copier = copier
        self._checksums = checksums
        self._empty_files = EmptyFiles(run, jobs)
        self._sent_files = SentFiles(run, jobs)
        self._vanished = VanishedFolder(run, jobs)
        self.verification: Verification | None = None
        """What was compared; None if nothing was."""

    def begin(self, source: RemotePath) -> None:
        """Note what is to be looked at after the copy. Call it before the first attempt."""
        if not self._options.dry_run:
            self._empty_files.begin(source)
            self._sent_files.begin(source)

    def check(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Compare the files that have arrived. A file that cannot be compared has failed."""
        is_listed = self._selection.files is None and self._copier.single_file is None
        if is_listed and not self._options.dry_run:
            yield from self._vanished.look(source)
        if not self._early_stop.has_stopped:
            file, at_once = self._copier.single_file, self._tuner.files_at_once
            folder = source.fs if file is None else source.parent
            yield from self._empty_files.check(folder, at_once)
            to = file or Placement(destination.fs)
            yield from UnsizedFiles(self._run, self._jobs).check(folder, to, at_once)
            yield from self._sent_files.check(source, is_file=file is not None)
        is_compared = self._is_to_verify and self._verify_mode is not VerifyMode.NONE
        if not is_compared and (work := self._run.confirm_uploads()) is not None:
            yield from self._jobs.wait_for(work)
        if self._is_to_verify:
            self._progress.phase = Phase.VERIFYING
            self._run.forget()
            if self._verify_mode is VerifyMode.CHECKSUM:
                yield from self._look_at_checksums(source, destination)
            yield from self._verify(source, destination, self._verify_mode)
            self._report_missing_checksums()
        if not is_compared and (yield from self._has_other_bytes(source)):
            self._progress.phase = Phase.VERIFYING
            yield from self._verify(source, destination, VerifyMode.SIZE)

    def _look_at_checksums(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Find out whether the checksums are right that are to be compared, if no copy has."""
        file = self._copier.single_file
        if file is None:
            names = self._checksums.names(self._selection)
            yield from self._checksums.look(source, destination, (source.fs, destination.fs), names)
        elif file.name in (None, source.name):
            yield from self._checksums.look(
                source, destination, (source.parent, file.folder), [source.name]
            )

    @property
    def _is_to_verify(self) -> bool:
        if self._options.dry_run or self._early_stop.has_stopped or self._copier.selects_nothing:
            return False  # Files that were never begun are not missing.
        files = self._selection.files or ()
        # The request may say which sizes and checksums must arrive.
        has_expectations = any(file.size is not None or file.hash for file in files)
        return has_expectations or self._verify_mode is not VerifyMode.NONE

    @property
    def _verify_mode(self) -> VerifyMode:
        mode = self._options.verify
        is_unchecked = self._copier.untimed.unchecked or self._checksums.disbelieved is not None
        if mode is VerifyMode.CHECKSUM and self._checksums.disbelieved is not None:
            return VerifyMode.SIZE
        return VerifyMode.SIZE if mode is VerifyMode.NONE and is_unchecked else mode

    def _has_other_bytes(self, source: RemotePath) -> Generator[Event, None, bool]:
        """Whether a second look at the source's sizes tells that a file did not arrive whole."""
        if self._early_stop.has_stopped or self._options.dry_run:
            return False
        files = self._selection.files
        folder, names = source.fs, None if files is None else tuple(file.path for file in files)
        if self._copier.single_file is not None:
            folder, names = source.parent, (source.name,)
        at_once = self._tuner.files_at_once
        return (yield from self._recount.has_other_bytes(source, folder, names, at_once))

    def _verify(
        self, source: RemotePath, destination: RemotePath, mode: VerifyMode
    ) -> Iterator[Event]:
        """Compare both sides. A file that cannot be compared has failed."""
        verifier = Verifier(self._run, self._jobs, mode)
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
        if (side := self._checksums.disbelieved) is not None:
            text = f"{count} files have checksums at the {side.value} that are not believed."
        if not self._options.require_checksum:
            self._run.outcomes.warn("compared_by_size", "", text, count)
            return
        text += " Set `options.verify` to `download`, or leave out `options.require_checksum`."
        self._run.outcomes.add_final_error(Failure("unsupported", text, retryable=False, side=None))

    @property
    def _tree_config(self) -> dict[str, object]:
        checkers = self._tuner.config["Checkers"]
        return {**rc_config.destination_lookup(self._selection), "Checkers": checkers}
