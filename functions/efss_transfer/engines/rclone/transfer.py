"""The copy itself, and what must be found out where rclone does not tell the whole truth."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import suppress
from enum import Enum
from typing import Any, Final

from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone import failures
from efss_transfer.engines.rclone.cleaning import Cleaner
from efss_transfer.engines.rclone.failures import classify
from efss_transfer.engines.rclone.log import Record
from efss_transfer.engines.rclone.rc import Rc, RcError, Work
from efss_transfer.engines.rclone.remotes import Place
from efss_transfer.errors import EngineError
from efss_transfer.events import Event, FileDone, Progress
from efss_transfer.result import Failure, Json, Side, State, Totals

# How often it is looked up whether the transfer must end, and what is new.
_LOOK_UP_SECONDS: Final = 0.2
_PROGRESS_SECONDS: Final = 0.5

# Several streams for one file corrupt it, without an error, where the source ignores
# Range (rclone-facts.md, "Data corruption"): none until a source is shown to honour it.
_CONFIG: Final = {"MultiThreadStreams": 0}


class _Kind(Enum):
    FILE = "file"
    FOLDER = "folder"
    MISSING = "missing"


class Interrupted(Exception):
    """The transfer must end now, in this state."""

    def __init__(self, state: State) -> None:
        super().__init__(state.value)
        self.state = state


class Refused(Exception):
    """A storage said no, before any file was copied."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def _refusal(code: str, message: str, side: Side | None) -> Refused:
    """A refusal that is found out here and not said by a storage; for good."""
    return Refused(Failure(code, message, retryable=False, side=side))


class Transfer:
    """The copy itself. Its methods are generators: they yield events while they wait."""

    def __init__(
        self,
        rc: Rc,
        record: Record,
        cleaner: Cleaner,
        context: Context,
        stop_seconds: float,
    ) -> None:
        self._rc = rc
        self._record = record
        self._cleaner = cleaner
        self._context = context
        self._stop_seconds = stop_seconds
        self._made: Counter[str] = Counter()
        self._expected_files = 0
        self._expected_bytes = 0
        self._progress_due = time.monotonic() + _PROGRESS_SECONDS
        self.status: dict[str, Json] = {}
        """The status of the copy's job, as rclone gave it last."""
        self.stats: dict[str, Json] = {}
        """The stats of the copy's job, as rclone gave them last."""

    def copy(self, source: Place, destination: Place) -> Iterator[Event]:
        """Copy a folder's content, or a file.

        Raises Refused with the true cause if nothing could be copied at all.
        """
        yield from self._keep_limits(source)
        # Folders are what is mostly copied, so that is tried without a look first.
        yield from self._post_copy("sync/copy", srcFs=source.fs, dstFs=destination.fs)
        error = self._cause(str(self.status.get("error", "")))
        if self._record.errors:
            return
        if not error:
            if self._record.totals == Totals():
                yield from self._confirm_empty(source)
        elif failures.IS_A_FILE in error:
            yield from self._copy_file(source, destination)
        else:
            raise Refused(classify(error, self._side_at_fault(source, destination), self._cleaner))

    def _keep_limits(self, source: Place) -> Iterator[Event]:
        """Refuse a source that holds more than is allowed, before a byte is moved.

        It costs a second listing, and only where there is such a limit. What cannot be
        listed is left to the copy, which tells why.
        """
        limits = self._context.limits
        if limits.files is None and limits.bytes is None:
            return
        work = yield from self._done("operations/size", fs=source.fs)
        files, size = work.output.get("count"), work.output.get("bytes")
        if failures.IS_A_FILE in work.error:
            work = yield from self._done("operations/stat", fs=source.parent, remote=source.name)
            files, size = 1, (work.output.get("item") or {}).get("Size")
        for what, found, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
            if found is not None and most is not None and int(found) > most:
                text = f"The source has {found} {what}; {most} are allowed here."
                raise _refusal("forbidden", text, Side.SOURCE)

    def _copy_file(self, source: Place, destination: Place) -> Iterator[Event]:
        """Copy one file, because rclone said of one of the two that it is a file."""
        kind = yield from self._look(source)
        if kind is _Kind.FOLDER:
            raise _refusal("not_a_directory", "It is a file.", Side.DESTINATION)
        if kind is _Kind.MISSING:
            raise _refusal("source_not_found", "There is no such file.", Side.SOURCE)
        if source.path.endswith("/"):
            raise _refusal("not_a_directory", "It is a file.", Side.SOURCE)
        if destination.names_a_folder or (yield from self._look(destination)) is _Kind.FOLDER:
            folder, name = destination.fs, source.name
        else:
            folder, name = destination.parent, destination.name
        if (f"{folder.rstrip('/')}/{name}") == f"{source.parent.rstrip('/')}/{source.name}":
            # Only here is it known that the destination is a folder, and what it holds.
            raise _refusal("unsupported", "The destination is the source itself.", None)
        yield from self._post_copy(
            "operations/copyfile",
            srcFs=source.parent,
            srcRemote=source.name,
            dstFs=folder,
            dstRemote=name,
        )
        if (error := str(self.status.get("error", ""))) and not self._record.errors:
            if "HeadObject" in error:
                # S3 answers that without a body, so bad keys look like a lack of rights.
                # What it answers to a look has a body, and is raised.
                yield from self._look(destination)
            raise Refused(classify(error, self._side_at_fault(source, destination), self._cleaner))

    def _confirm_empty(self, source: Place) -> Iterator[Event]:
        """Make sure that a source without files is an empty folder.

        rclone takes a login page for an empty WebDAV folder, and a prefix of S3 that
        does not exist for an empty one: nothing copied is then no success.
        """
        is_webdav = source.remote.backend == "webdav"
        if source.is_top and not is_webdav:
            return  # there is nothing to be asked but the list, and that was had
        kind = yield from self._look(source)
        if kind is _Kind.MISSING and is_webdav:
            raise _refusal(
                "unsupported",
                "The URL does not answer as a WebDAV folder: is it a login page, or "
                "not the server's WebDAV address?",
                Side.SOURCE,
            )
        if kind is _Kind.MISSING:
            raise _refusal("source_not_found", "There is no such folder.", Side.SOURCE)
        if kind is _Kind.FILE:
            raise _refusal(
                "not_a_directory",
                "The URL itself is a file: put its last part into `path`.",
                Side.SOURCE,
            )

    def _look(self, place: Place) -> Generator[Event, None, _Kind]:
        """What stands at a place; raises Refused if the storage does not tell."""
        if place.remote.backend == "webdav":
            # A stat would list the parent, which may be long, and believes an HTML page.
            # To hash a file one must find it: that is a PROPFIND of the very place. No
            # WebDAV server has CRC-32, so nothing is read.
            work = yield from self._done(
                "operations/hashsumfile", fs=place.parent, remote=place.name, hashType="crc32"
            )
            error = work.error
            if failures.IS_A_DIRECTORY in error:
                return _Kind.FOLDER
            if failures.OBJECT_NOT_FOUND in error:
                return _Kind.MISSING
            if not error or "hash" in error:
                return _Kind.FILE
        else:
            work = yield from self._done("operations/stat", fs=place.parent, remote=place.name)
            error = work.error
            if not error:
                item = work.output.get("item")
                if item is None:
                    return _Kind.MISSING
                return _Kind.FOLDER if item.get("IsDir") else _Kind.FILE
        # "Is a file" would be said here of the folder that holds the place.
        raise Refused(classify(self._cause(error), place.side, self._cleaner))

    def _cause(self, error: str) -> str:
        """Why a call failed, where rclone calls something a file that it may not look at."""
        return self._record.doubt or error if failures.IS_A_FILE in error else error

    def _side_at_fault(self, source: Place, destination: Place) -> Side | None:
        # With one remote for both there is no telling from its name.
        return None if source.remote == destination.remote else self._record.touched

    def _post_copy(self, call: str, **parameters: Any) -> Iterator[Event]:
        self.status = {}
        try:
            work = yield from self._done(call, _config=_CONFIG, **parameters)
            if work.job:  # unless it had to be given up
                self.status = self._rc.status(work.job)
        finally:
            with suppress(EngineError, RcError):
                self.stats = self._rc.stats()

    def _done(self, call: str, **parameters: Any) -> Generator[Event, None, Work]:
        """Have rclone do something that waits for a storage, until it is done.

        However this is left, rclone does not work on it any more, or is dead.
        """
        self._record.doubt = ""
        work = self._rc.begin(call, **parameters)
        try:
            if not self._made:
                self._rc.collect_garbage()  # from now on; rclone is at work meanwhile
            while not work.wait(_LOOK_UP_SECONDS):
                if (state := self._context.must_end()) is not None:
                    raise Interrupted(state)
                yield from self._news()
                if self._record.hopeless:
                    self._stop(work)
                    break
        except EngineError:
            raise  # there is nothing left to stop
        except BaseException:  # GeneratorExit too: whoever read the events went away
            self._stop(work)
            raise
        self._made[call] += 1
        self._record.settle(call, self._made[call], self._stop_seconds)
        return work

    def _stop(self, work: Work) -> None:
        """Stop the work and wait for it, so that rclone removes what is half written."""
        self._record.end()
        self._rc.hurry(self._stop_seconds)
        with suppress(EngineError, RcError):
            self._rc.cancel()
            work.wait(self._stop_seconds)

    def _news(self) -> Iterator[Event]:
        for outcome in self._record.outcomes():
            with self._record.held():
                yield FileDone(outcome)
        if time.monotonic() < self._progress_due:
            return
        stats = self._rc.stats()
        eta = stats.get("eta")
        # rclone's own totals fall for a moment whenever a file is done; a bar must not.
        self._expected_files = max(self._expected_files, int(stats.get("totalTransfers") or 0))
        self._expected_bytes = max(self._expected_bytes, int(stats.get("totalBytes") or 0))
        progress = Progress(
            totals=self._record.totals,
            current_bytes=int(stats.get("bytes") or 0),
            expected_files=self._expected_files,
            expected_bytes=self._expected_bytes,
            speed=float(stats.get("speed") or 0),
            eta_seconds=None if eta is None else float(eta),
        )
        self._progress_due = time.monotonic() + _PROGRESS_SECONDS
        with self._record.held():
            yield progress
