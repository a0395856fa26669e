"""The copy itself: its attempts, each of a folder, a file, or the files that are listed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, Final

from efss_transfer.config import resources
from efss_transfer.config.settings import Settings
from efss_transfer.engines import sharding
from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.rclone.rc.jobs import JobRunner, TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.transfer import limits as transfer_limits
from efss_transfer.engines.rclone.transfer import tuning
from efss_transfer.engines.rclone.transfer.listed_files import ListedFiles
from efss_transfer.engines.rclone.transfer.partial_files import PartialFiles
from efss_transfer.engines.rclone.transfer.path_kind import (
    CopyRefused,
    PathInspector,
    PathKind,
    refusal,
)
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.rclone.transfer.tuning import NOTHING_LARGE, Tuning, TuningLimits
from efss_transfer.engines.rclone.transfer.verification import Pair, verify
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.retry import RetrySchedule
from efss_transfer.model.events import Event, Phase
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure, Json, Side, State, Totals, Verification, VerifyMode

# Each is a thread and a connection to rclone.
_LISTED_AT_ONCE: Final = 16
# From so much memory on rclone may leave its garbage alone for moments. Of 256 MiB the listing of
# 20,000 files left nothing, and rclone ended (RLIMIT_DATA), although Go keeps to four fifths.
_ROOMY: Final = 1 << 30


class Transfer:
    """The copy itself. Its methods are generators: they yield events while they wait.

    `beside` is how many run here at the same time, with this one.
    """

    def __init__(
        self,
        rc: RcClient,
        record: LogParser,
        cleaner: Redactor,
        request: TransferRequest,
        context: Context,
        settings: Settings,
        beside: int,
    ) -> None:
        self._rc = rc
        self._record = record
        self._cleaner = cleaner
        self._selection = sharding.select_shard(request.selection)
        self._request = replace(request, selection=self._selection)
        self._options = request.options
        self._context = context
        self._settings = settings
        self._beside = beside
        self._bench = JobRunner(rc, record, context, settings.rclone.stop_seconds)
        self._bench.give_up = self._is_better_stopped
        self._remnants = PartialFiles(rc, record, settings.rclone.stop_seconds)
        self._bench.after_stop = self._remnants.remove
        self._looks = PathInspector(self._bench, record, cleaner)
        self._scout = SourceProbe(rc, record, self._bench, context)
        self._filter = rc_config.filter_options(self._selection)
        self._config: dict[str, Any] = {}
        self.tuning: Tuning | None = None
        """What was chosen to make the copy fast, once it is."""
        self._calmed: Tuning | None = None
        # Whether this attempt was ended before it had looked at everything.
        self._cut_short = False
        # Whether the source is there, and no file of it is for this shard to copy.
        self._nothing_here = False
        self.verification: Verification | None = None
        self.status: dict[str, Json] = {}
        """The status of the copy's last job, as rclone gave it."""

    @property
    def attempts(self) -> int:
        """How often the copy was tried."""
        return self._bench.attempt

    @property
    def stats(self) -> dict[str, Json]:
        """The stats of all work, as rclone gave them last."""
        return self._bench.stats

    def folder_of(self, source: RemotePath) -> str:
        """The fs that the paths of the files are relative to, once they were copied."""
        return source.fs if self._remnants.renamed is None else source.parent

    def copy(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Copy a folder's content, a file, or the files that are listed; then verify.

        Raises Refused with the true cause if nothing could be copied at all.
        """
        if self._settings.memory_bytes < _ROOMY:
            # The garbage of a large tree's listing alone is more than there is room for.
            self._bench.collect_garbage()
        if self._options.bandwidth_limit is not None:
            self._rc.limit_bandwidth(self._options.bandwidth_limit)
        self._remnants.folder = destination.fs
        limits, at_once = self._context.limits, _LISTED_AT_ONCE
        yield from transfer_limits.keep(self._bench, source, self._request, limits, at_once)
        yield from self._tune(source, destination)
        refused = yield from self._try(source, destination)
        self._record.close()
        if refused is not None:
            raise CopyRefused(refused)
        # What was never begun is not missing, and so there is nothing to compare it with.
        done = not (self._options.dry_run or self._cut_short or self._nothing_here)
        if done and (self._options.verify is not VerifyMode.NONE or self._is_known_of_files):
            self._bench.phase = Phase.VERIFYING
            yield from self._verify(source, destination)

    def _try(
        self, source: RemotePath, destination: RemotePath
    ) -> Generator[Event, None, Failure | None]:
        """As many attempts as it takes and there are; the failure of the last, if it could
        not even begin.
        """
        files = self._selection.files
        paths = asked = None if files is None else tuple(file.path for file in files)
        patience = RetrySchedule(
            self._options.attempts, self._settings.retry_seconds, self._context
        )
        while True:
            self._cut_short = False
            self._context.observer.attempt(self._bench.attempt)
            self._record.begin(last=patience.is_last(), awaited=paths or ())
            refused: Failure | None = None
            try:
                if paths is None:
                    yield from self._copy_all(source, destination)
                elif not paths:
                    yield from self._copy_none(source)
                else:
                    at_once = self._files_at_once
                    listed = ListedFiles(
                        self._bench, self._record, self._cleaner, self._config, at_once
                    )
                    yield from listed.copy(source, destination, paths, lambda: self._cut_short)
            except CopyRefused as error:
                refused = error.failure
            why = self._record.held_back
            if refused is not None and refused.retryable:
                why = (*why, refused)
            if not why or self._is_to_stop() or (seconds := patience.after(why)) is None:
                return refused
            self._bench.phase = Phase.WAITING
            yield from self._bench.pause(seconds)
            self._bench.phase = Phase.COPYING
            self._bench.attempt += 1
            self._calm()
            self._rc.clear_fs_cache()
            paths = asked if refused is not None else self._again(asked)

    def _tune(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Choose what makes the copy fast, by what a look at the source shows."""
        bounds = TuningLimits(
            self._settings.memory_bytes,
            max(0.0, self._context.deadline - time.monotonic()),
            self._options.bandwidth_limit,
            self._options.transfers,
            self._context.limits.transfers,
            # Who splits a copy into shards has chosen how many of them run at a time.
            1 if self._selection.shard is not None else self._beside,
            resources.cpu_count(),
        )
        config = rc_config.copy_config(self._request)
        seen = NOTHING_LARGE  # a dry run moves nothing, and is a look itself
        if not self._options.dry_run:
            # As many connections are kept open as are expected when a storage is opened.
            most = tuning.checking(source.remote, destination.remote, bounds)
            opening = {**config, "Transfers": most, "Checkers": most}
            seen = yield from self._scout.look(
                source, destination, self._selection, bounds, opening
            )
        self.tuning = tuning.chosen(source.remote, destination.remote, bounds, seen)
        self._calmed = self.tuning
        self._config = config | self.tuning.config()

    def _calm(self) -> None:
        """Have the next attempt ask for less at a time."""
        if self._calmed is not None:
            self._calmed = self._calmed.calmer()
            self._config |= self._calmed.config()

    @property
    def _files_at_once(self) -> int:
        """For how many files there are calls of their own at a time."""
        wanted = self._options.transfers or _LISTED_AT_ONCE
        return min(wanted, int(self._config["Transfers"]))

    def _again(self, asked: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """What the next attempt is about: a few files by their names; or all again, where it
        is much, or not known what is missing. What has been told is not told again.
        """
        if self._remnants.renamed is not None or self._cut_short:
            return asked
        return self._record.again or asked

    def _copy_all(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        # Folders are what is mostly copied, so that is tried without a look first.
        yield from self._post_copy("sync/copy", srcFs=source.fs, dstFs=destination.fs)
        error = self._looks.cause(str(self.status.get("error", "")))
        if error_codes.MAX_DURATION_REACHED in error:
            raise TransferInterrupted(State.INCOMPLETE)
        if self._record.failures:
            return
        if not error:
            if self._record.totals == Totals():
                yield from self._looks.confirm_empty(source)
        elif error_codes.IS_A_FILE in error:
            yield from self._copy_file(source, destination)
        else:
            raise CopyRefused(self._failure(error, source, destination))

    def _copy_file(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Copy one file, because rclone said of one of the two that it is a file."""
        kind = yield from self._looks.at(source)
        if kind is PathKind.FOLDER:
            raise refusal("not_a_directory", "It is a file.", Side.DESTINATION)
        if kind is PathKind.MISSING:
            raise refusal("source_not_found", "There is no such file.", Side.SOURCE)
        if source.path.endswith("/"):
            raise refusal("not_a_directory", "It is a file.", Side.SOURCE)
        if rc_config.filter_options(replace(self._selection, shard=None)):
            raise refusal("unsupported", "A selection needs a folder: it is a file.", Side.SOURCE)
        if (shard := self._selection.shard) and not sharding.contains(shard, source.name):
            self._nothing_here, self.status = True, {}
            return
        if destination.is_folder or (yield from self._looks.at(destination)) is PathKind.FOLDER:
            folder, name = destination.fs, source.name
        else:
            folder, name = destination.parent, destination.name
        if (f"{folder.rstrip('/')}/{name}") == f"{source.parent.rstrip('/')}/{source.name}":
            # Only here is it known that the destination is a folder, and what it holds.
            raise refusal("unsupported", "The destination is the source itself.", None)
        self._remnants.folder, self._remnants.renamed = folder, name
        yield from self._post_copy(
            "operations/copyfile",
            srcFs=source.parent,
            srcRemote=source.name,
            dstFs=folder,
            dstRemote=name,
        )
        if (error := str(self.status.get("error", ""))) and not self._record.failures:
            if "HeadObject" in error:
                # S3 answers that without a body, so bad keys look like a lack of rights.
                # What it answers to a look has a body, and is raised.
                yield from self._looks.at(destination)
            raise CopyRefused(self._failure(error, source, destination))

    def _copy_none(self, source: RemotePath) -> Iterator[Event]:
        """Copy nothing, because none of the listed files is in this shard; but not from a
        source that is not there, or cannot be read.
        """
        yield from self._looks.confirm_there(source)
        self._nothing_here = True

    def _verify(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Compare both sides. What cannot be compared is no success."""
        pairs: list[Pair] | None = None
        if self._remnants.renamed is not None:
            pairs = [
                Pair(source.name, source.parent, self._remnants.folder, self._remnants.renamed)
            ]
        elif self._selection.files is not None:
            pairs = [
                Pair(file.path, source.fs, destination.fs, file.path, file)
                for file in self._selection.files
            ]
        config = rc_config.destination_lookup(self._selection) | {
            "Checkers": self._config["Checkers"]
        }
        self.verification = yield from verify(
            self._bench,
            self._record,
            self._cleaner,
            self._options.verify,
            pairs,
            at_once=self._files_at_once,
            srcFs=source.fs,
            dstFs=destination.fs,
            _config=config,
            _filter=self._filter,
        )

    @property
    def _is_known_of_files(self) -> bool:
        """Whether the caller knows anything of the files that must have arrived."""
        return any(file.size is not None or file.hash for file in self._selection.files or ())

    def _is_to_stop(self) -> bool:
        return self._options.on_error == "stop" and self._record.totals.failed > 0

    def _is_better_stopped(self) -> bool:
        if not self._cut_short:
            stops = self._options.on_error == "stop" and self._record.failures > 0
            self._cut_short = stops or self._record.hopeless or self._record.is_outage()
        return self._cut_short

    def _failure(self, error: str, source: RemotePath, destination: RemotePath) -> Failure:
        side = self._looks.side_at_fault(source, destination)
        return classify(error, side, self._cleaner)

    def _post_copy(self, call: str, **parameters: Any) -> Iterator[Event]:
        self.status = {}
        seconds = min(self._context.last_start, self._context.deadline) - time.monotonic()
        if seconds <= 0:
            raise TransferInterrupted(State.INCOMPLETE)
        config = self._config | rc_config.cutoff(seconds)
        filtering = rc_config.filter_parameter(self._selection)
        work = yield from self._bench.done(call, _config=config, **filtering, **parameters)
        if work.id:  # unless it had to be given up
            self.status = self._rc.job_status(work.id)
