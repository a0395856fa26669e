"""Copying files by their names."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall, TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

_MOST_LOOKED_AT: Final = 20
_MISSING: Final = dict.fromkeys(
    (error_codes.OBJECT_NOT_FOUND, error_codes.DIRECTORY_NOT_FOUND), Side.SOURCE
)
_UNTOLD: Final = "It is not known what became of this file."


class ListedFiles:
    """Copies each file with a call of its own: what rclone is given as a list it looks
    through without a word about what is not there.
    """

    def __init__(
        self,
        bench: JobRunner,
        record: LogParser,
        cleaner: Redactor,
        config: Mapping[str, Any],
        at_once: int,
    ) -> None:
        self._bench = bench
        self._record = record
        self._cleaner = cleaner
        self._config = config
        self._at_once = at_once

    def copy(
        self,
        source: RemotePath,
        destination: RemotePath,
        paths: tuple[str, ...],
        is_cut_short: Callable[[], bool],
    ) -> Iterator[Event]:
        """Copy these files; what becomes of each is told to the record.

        Of those that nothing is known of nothing is told if the work was cut short.
        """
        refused: dict[str, str] = {}

        def take(path: str, work: Job) -> None:
            if work.error:
                refused[path] = work.error

        calls = (self._call(source, destination, path) for path in paths)
        # The first by itself: rclone looks at both storages for it, and keeps what it has
        # seen. Two at once would be two views, which do not know of the folders that the
        # other is just making.
        first = [next(calls)]
        interrupted: TransferInterrupted | None = None
        try:
            yield from self._bench.all_done(first, 1, take)
            yield from self._bench.all_done(calls, self._at_once, take)
        except TransferInterrupted as error:
            interrupted = error
        unaccounted = self._record.unaccounted
        untold = {path: refused[path] for path in unaccounted if path in refused}
        sides: Mapping[str, Side] = _MISSING
        if interrupted is None:
            sides = yield from self._sides(source, untold)
        for path in unaccounted:
            # What failed before it was begun stands in no log, but in the answer.
            if path in untold:
                failure = classify(untold[path], sides.get(untold[path]), self._cleaner)
            elif interrupted is not None or is_cut_short():
                continue
            else:
                failure = Failure("storage_error", _UNTOLD, retryable=False)
            self._record.tell(FileOutcome(path, FileState.FAILED, error=failure))
        if interrupted is not None:
            raise interrupted

    def _call(self, source: RemotePath, destination: RemotePath, path: str) -> RcCall:
        return RcCall(
            path,
            "operations/copyfile",
            {
                "srcFs": source.fs,
                "srcRemote": path,
                "dstFs": destination.fs,
                "dstRemote": path,
                "_config": self._config,
            },
        )

    def _sides(
        self, source: RemotePath, refused: Mapping[str, str]
    ) -> Generator[Event, None, dict[str, Side]]:
        """The side that each text is of: the source's, if that says it once more when it is
        looked at. Files that failed by the same text are looked at once.
        """
        sides = dict(_MISSING)
        samples = {text: path for path, text in refused.items() if text not in sides}

        def take(text: str, work: Job) -> None:
            sides[text] = Side.SOURCE if work.error else Side.DESTINATION

        opt = {"noModTime": True, "noMimeType": True}
        yield from self._bench.all_done(
            (
                RcCall(text, "operations/stat", {"fs": source.fs, "remote": path, "opt": opt})
                for text, path in islice(samples.items(), _MOST_LOOKED_AT)
            ),
            self._at_once,
            take,
        )
        return sides
