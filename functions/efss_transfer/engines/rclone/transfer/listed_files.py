"""Copies files that the request lists by name."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall, TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.partial_files import PartialFiles, Placement
from efss_transfer.engines.rclone.transfer.unclean_files import are_merged, name_taken
from efss_transfer.engines.sharding import folded
from efss_transfer.engines.unclean_names import place
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

_MOST_STATS: Final = 20
_NOT_FOUND: Final = dict.fromkeys(
    (error_codes.OBJECT_NOT_FOUND, error_codes.DIRECTORY_NOT_FOUND), Side.SOURCE
)
_UNREPORTED: Final = "rclone did not report whether this file was copied. Request it again."


class ListedFiles:
    """Copies each file by an rc call of its own. Of a list in one call, rclone would skip missing
    files without a message.
    """

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        has_stopped: Callable[[], bool],
        begins_again: Callable[[], bool],
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._has_stopped = has_stopped
        self._begins_again = begins_again

    def copy(
        self,
        source: RemotePath,
        destination: RemotePath,
        paths: tuple[str, ...],
        config: Mapping[str, Any],
        at_once: int,
    ) -> Iterator[Event]:
        """Copy the files `paths`, at most `at_once` at a time, and add their outcomes.

        If the attempt is stopped, files without an outcome stay without one.
        """
        if destination.ignores_case or config.get("IgnoreCaseSync"):
            paths = self._distinct(paths)
        errors: dict[str, str] = {}

        def keep_error(path: str, job: Job) -> None:
            if job.error:
                errors[path] = job.error

        is_merged = are_merged(source, destination)
        calls = (
            _copy_call(source, destination, path, place(path) if is_merged else path, config)
            for path in paths
        )
        # The first file alone: rclone opens both storages for it, and keeps them. Two calls at
        # once would open each twice, and one would not see the folders that the other makes.
        first = [next(calls)]
        after_stop = PartialFiles(self._run, Placement(destination.fs)).remove
        interruption: TransferInterrupted | None = None
        try:
            yield from self._jobs.run_all(first, 1, keep_error, after_stop)
            yield from self._jobs.run_all(calls, at_once, keep_error, after_stop)
        except TransferInterrupted as error:
            interruption = error
        outcomes = self._run.outcomes
        missing = {path for path in paths if not outcomes.is_reported(path)}
        log = self._run.log
        elsewhere = {*log.refused_times.paths, *log.mismatches.paths, *log.deferred}
        unreported = (outcomes.unreported | missing) - elsewhere
        errors = {path: error for path, error in errors.items() if path in unreported}
        sides: Mapping[str, Side] = _NOT_FOUND
        if interruption is None:
            sides = yield from self._sides(source, errors, at_once)
        for path in unreported:
            # A file that failed before its copy began is not in the log, but in the reply.
            if path in errors and not (
                error_codes.CANCELLED in errors[path] and self._begins_again()
            ):
                failure = self._run.classify(errors[path], sides.get(errors[path]), path)
            elif interruption is not None or self._has_stopped():
                continue
            else:
                failure = Failure("storage_error", _UNREPORTED, retryable=False)
            outcomes.add(FileOutcome(path, FileState.FAILED, error=failure))
        if interruption is not None:
            raise interruption

    def _distinct(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        """The first of all paths that are one at the destination; add the others as failed."""
        first: dict[str, str] = {}
        for path in paths:
            other = first.setdefault(folded(path), path)
            if other != path:
                failure = name_taken(self._run, other)
                self._run.outcomes.add(FileOutcome(path, FileState.FAILED, error=failure))
        return tuple(first.values())

    def _sides(
        self, source: RemotePath, errors: Mapping[str, str], at_once: int
    ) -> Generator[Event, None, dict[str, Side]]:
        """The side of each error text: the source if a stat of the file there fails as well. Of
        the files with the same text only one is looked up.
        """
        sides = dict(_NOT_FOUND)
        samples = {text: path for path, text in errors.items() if text not in sides}

        def keep_side(text: str, job: Job) -> None:
            sides[text] = Side.SOURCE if job.error else Side.DESTINATION

        opt = {"noModTime": True, "noMimeType": True}
        yield from self._jobs.run_all(
            (
                RcCall(text, "operations/stat", {"fs": source.fs, "remote": path, "opt": opt})
                for text, path in islice(samples.items(), _MOST_STATS)
            ),
            at_once,
            keep_side,
        )
        return sides


def _copy_call(
    source: RemotePath, destination: RemotePath, path: str, to: str, config: Mapping[str, Any]
) -> RcCall:
    return RcCall(
        path,
        "operations/copyfile",
        {
            "srcFs": source.fs,
            "srcRemote": path,
            "dstFs": destination.fs,
            "dstRemote": to,
            "_config": config,
        },
    )
