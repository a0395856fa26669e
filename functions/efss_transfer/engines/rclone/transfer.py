"""The copy itself: its attempts, each of a folder, a file, or the files that are listed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from efss_transfer.engines.base import Context, TransferRequest
from efss_transfer.engines.rclone import failures, orders
from efss_transfer.engines.rclone.bench import Bench, Call, Interrupted
from efss_transfer.engines.rclone.cleaning import Cleaner
from efss_transfer.engines.rclone.failures import classify
from efss_transfer.engines.rclone.log import NOTHING, Record
from efss_transfer.engines.rclone.looks import Kind, Looks, Refused, refusal
from efss_transfer.engines.rclone.patience import Patience
from efss_transfer.engines.rclone.rc import Rc, RcError, Work
from efss_transfer.engines.rclone.remotes import Place
from efss_transfer.engines.rclone.verification import Pair, verify
from efss_transfer.errors import EngineError
from efss_transfer.events import Event, Phase
from efss_transfer.result import (
    Failure,
    FileOutcome,
    FileState,
    Json,
    Side,
    State,
    Totals,
    Verification,
    VerifyMode,
)
from efss_transfer.settings import Settings

_MOST_LOOKED_AT: Final = 20
_UNTOLD: Final = "It is not known what became of this file."


class Transfer:
    """The copy itself. Its methods are generators: they yield events while they wait."""

    def __init__(
        self,
        rc: Rc,
        record: Record,
        cleaner: Cleaner,
        request: TransferRequest,
        context: Context,
        settings: Settings,
    ) -> None:
        self._rc = rc
        self._record = record
        self._cleaner = cleaner
        self._request = request
        self._options = request.options
        self._selection = request.selection
        self._context = context
        self._settings = settings
        self._bench = Bench(rc, record, context, settings.stop_seconds)
        self._bench.give_up = self._is_better_stopped
        self._bench.after_stop = self._remove_cut_off
        self._looks = Looks(self._bench, record, cleaner)
        self._config = orders.copying(request, context.limits)
        self._filter = orders.filters(request.selection)
        # Where a file goes: (folder, path in it), if it is known by now.
        self._folder = ""
        self._renamed: str | None = None
        # Whether this attempt was ended before it had looked at everything.
        self._cut_short = False
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

    def copy(self, source: Place, destination: Place) -> Iterator[Event]:
        """Copy a folder's content, a file, or the files that are listed; then verify.

        Raises Refused with the true cause if nothing could be copied at all.
        """
        if self._options.bandwidth_limit is not None:
            self._rc.limit_bandwidth(self._options.bandwidth_limit)
        self._folder = destination.fs
        yield from self._keep_limits(source)
        refused = yield from self._try(source, destination)
        self._record.close()
        if refused is not None:
            raise Refused(refused)
        if not self._options.dry_run and (
            self._options.verify is not VerifyMode.NONE or self._is_known_of_files
        ):
            self._bench.phase = Phase.VERIFYING
            yield from self._verify(source, destination)

    def _try(self, source: Place, destination: Place) -> Generator[Event, None, Failure | None]:
        """As many attempts as it takes and there are; the failure of the last, if it could
        not even begin.
        """
        listed = self._selection.files
        paths = asked = None if listed is None else tuple(file.path for file in listed)
        patience = Patience(self._options.attempts, self._settings.retry_seconds, self._context)
        while True:
            self._cut_short = False
            self._context.observer.attempt(self._bench.attempt)
            self._record.begin(last=patience.is_last, awaited=paths or ())
            refused: Failure | None = None
            try:
                if paths is None:
                    yield from self._copy_all(source, destination)
                else:
                    yield from self._copy_listed(source, destination, paths)
            except Refused as error:
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
            self._rc.forget_storages()
            paths = asked if refused is not None else self._again(asked)

    def _again(self, asked: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """What the next attempt is about: a few files by their names; or all again, where it
        is much, or not known what is missing. What has been told is not told again.
        """
        if self._renamed is not None or self._cut_short:
            return asked
        return self._record.again or asked

    def _copy_all(self, source: Place, destination: Place) -> Iterator[Event]:
        # Folders are what is mostly copied, so that is tried without a look first.
        yield from self._post_copy("sync/copy", srcFs=source.fs, dstFs=destination.fs)
        error = self._looks.cause(str(self.status.get("error", "")))
        if failures.TIME_IS_UP in error:
            raise Interrupted(State.INCOMPLETE)
        if self._record.failures:
            return
        if not error:
            if self._record.totals == Totals():
                yield from self._looks.confirm_empty(source)
        elif failures.IS_A_FILE in error:
            yield from self._copy_file(source, destination)
        else:
            raise Refused(self._failure(error, source, destination))

    def _copy_file(self, source: Place, destination: Place) -> Iterator[Event]:
        """Copy one file, because rclone said of one of the two that it is a file."""
        kind = yield from self._looks.at(source)
        if kind is Kind.FOLDER:
            raise refusal("not_a_directory", "It is a file.", Side.DESTINATION)
        if kind is Kind.MISSING:
            raise refusal("source_not_found", "There is no such file.", Side.SOURCE)
        if source.path.endswith("/"):
            raise refusal("not_a_directory", "It is a file.", Side.SOURCE)
        if self._filter:
            raise refusal("unsupported", "A selection needs a folder: it is a file.", Side.SOURCE)
        if destination.names_a_folder or (yield from self._looks.at(destination)) is Kind.FOLDER:
            folder, name = destination.fs, source.name
        else:
            folder, name = destination.parent, destination.name
        if (f"{folder.rstrip('/')}/{name}") == f"{source.parent.rstrip('/')}/{source.name}":
            # Only here is it known that the destination is a folder, and what it holds.
            raise refusal("unsupported", "The destination is the source itself.", None)
        self._folder, self._renamed = folder, name
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
            raise Refused(self._failure(error, source, destination))

    def _copy_listed(
        self, source: Place, destination: Place, paths: tuple[str, ...]
    ) -> Iterator[Event]:
        """Copy files by their names, each with a call of its own: what rclone is given as a
        list it looks through without a word about what is not there.
        """
        refused: dict[str, str] = {}

        def take(path: str, work: Work) -> None:
            if work.error:
                refused[path] = work.error

        calls = (
            Call(
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
            for path in paths
        )
        at_once = orders.transfers(self._options, self._context.limits)
        # The first by itself: rclone looks at both storages for it, and keeps what it has
        # seen. Two at once would be two views, which do not know of the folders that the
        # other is just making.
        first = [next(calls)]
        interrupted: Interrupted | None = None
        try:
            yield from self._bench.all_done(first, 1, take)
            yield from self._bench.all_done(calls, at_once, take)
        except Interrupted as error:
            interrupted = error
        unaccounted = self._record.unaccounted
        sides = yield from self._sides(source, {p: refused[p] for p in unaccounted if p in refused})
        for path in unaccounted:
            # What failed before it was begun stands in no log, but in the answer.
            if path in refused:
                failure = classify(refused[path], sides.get(refused[path]), self._cleaner)
            elif interrupted is not None or self._cut_short:
                continue
            else:
                failure = Failure("storage_error", _UNTOLD, retryable=False)
            self._record.tell(FileOutcome(path, FileState.FAILED, error=failure))
        if interrupted is not None:
            raise interrupted

    def _sides(
        self, source: Place, refused: Mapping[str, str]
    ) -> Generator[Event, None, dict[str, Side]]:
        """The side that each text is of: the source's, if that says it once more when it is
        looked at. Files that failed by the same text are looked at once.
        """
        sides = dict.fromkeys((failures.OBJECT_NOT_FOUND, failures.NO_FOLDER), Side.SOURCE)
        samples = {text: path for path, text in refused.items() if text not in sides}
        if self._context.must_end() is not None:
            return sides

        def take(text: str, work: Work) -> None:
            sides[text] = Side.SOURCE if work.error else Side.DESTINATION

        opt = {"noModTime": True, "noMimeType": True}
        yield from self._bench.all_done(
            (
                Call(text, "operations/stat", {"fs": source.fs, "remote": path, "opt": opt})
                for text, path in islice(samples.items(), _MOST_LOOKED_AT)
            ),
            orders.transfers(self._options, self._context.limits),
            take,
        )
        return sides

    def _keep_limits(self, source: Place) -> Iterator[Event]:
        """Refuse a source that holds more than is allowed, before a byte is moved.

        It costs a second listing, and only where there is such a limit. What cannot be
        listed is left to the copy, which tells why.
        """
        limits = self._context.limits
        if limits.files is None and limits.bytes is None:
            return
        listed = self._selection.files
        files: int | None
        size: int | None
        if listed is not None:
            files, size = len(listed), 0
            sizes: list[int] = []
            stat = {"fs": source.fs, "opt": {"noModTime": True, "noMimeType": True}}
            yield from self._bench.all_done(
                (
                    Call(None, "operations/stat", {**stat, "remote": file.path})
                    for file in (listed if limits.bytes is not None else ())
                ),
                orders.transfers(self._options, limits),
                lambda _, work: sizes.append(int((work.output.get("item") or {}).get("Size", 0))),
            )
            size = sum(sizes)
        else:
            work = yield from self._bench.done(
                "operations/size",
                fs=source.fs,
                **({"_filter": self._filter} if self._filter else {}),
            )
            files, size = work.output.get("count"), work.output.get("bytes")
            if failures.IS_A_FILE in work.error:
                work = yield from self._bench.done(
                    "operations/stat", fs=source.parent, remote=source.name
                )
                files, size = 1, (work.output.get("item") or {}).get("Size")
        for what, found, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
            if found is not None and most is not None and int(found) > most:
                text = f"The source has {found} {what}; {most} are allowed here."
                raise refusal("forbidden", text, Side.SOURCE)

    def _verify(self, source: Place, destination: Place) -> Iterator[Event]:
        """Compare both sides. What cannot be compared is no success."""
        pairs: list[Pair] | None = None
        if self._renamed is not None:
            pairs = [Pair(source.name, source.parent, self._folder, self._renamed)]
        elif self._selection.files is not None:
            pairs = [
                Pair(file.path, source.fs, destination.fs, file.path, file)
                for file in self._selection.files
            ]
        config = orders.looking(self._selection)
        self.verification = yield from verify(
            self._bench,
            self._record,
            self._cleaner,
            self._options.verify,
            pairs,
            at_once=orders.transfers(self._options, self._context.limits),
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
            self._cut_short = stops or self._record.hopeless or self._record.outage
        return self._cut_short

    def _failure(self, error: str, source: Place, destination: Place) -> Failure:
        side = self._looks.side_at_fault(source, destination)
        return classify(error, side, self._cleaner)

    def _post_copy(self, call: str, **parameters: Any) -> Iterator[Event]:
        self.status = {}
        seconds = min(self._context.last_start, self._context.deadline) - time.monotonic()
        if seconds <= 0:
            raise Interrupted(State.INCOMPLETE)
        more: dict[str, Any] = {"_filter": self._filter} if self._filter else {}
        config = self._config | orders.ending(seconds)
        work = yield from self._bench.done(call, _config=config, **more, **parameters)
        if work.job:  # unless it had to be given up
            self.status = self._rc.status(work.job)

    def _remove_cut_off(self, sizes: Mapping[str, int]) -> None:
        """Remove what a storage keeps of files that were cut off on their way.

        rclone does that itself where an upload fails, but not where it was stopped: there
        its own call is cut off as well. What was there before is left alone; a file that
        was not there and has all its bytes has arrived, though rclone did not see it.
        """
        until = time.monotonic() + self._settings.stop_seconds
        for path, before in self._record.cut_off.items():
            remote = self._renamed or path
            place = {"fs": self._folder, "remote": remote}
            with suppress(EngineError, RcError):
                item = self._quickly("operations/stat", place, until).get("item") or {}
                left = item.get("Size")
                if item.get("IsDir") is not False or left is None or left == before:
                    continue
                if left != sizes.get(path):
                    self._quickly("operations/deletefile", place, until)
                elif before == NOTHING:
                    self._record.tell(FileOutcome(path, FileState.TRANSFERRED, left))

    def _quickly(self, call: str, parameters: Mapping[str, Any], until: float) -> dict[str, Any]:
        work = self._bench.begin(call, parameters)
        work.wait(max(0.0, until - time.monotonic()))
        return work.output
