"""What must be looked at because rclone does not tell the whole truth of it."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Side


class PathKind(Enum):
    """What stands at a place."""

    FILE = "file"
    FOLDER = "folder"
    MISSING = "missing"


class CopyRefused(Exception):
    """A storage said no, before any file was copied."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def refusal(code: str, message: str, side: Side | None) -> CopyRefused:
    """A refusal that is found out here and not said by a storage; for good."""
    return CopyRefused(Failure(code, message, retryable=False, side=side))


class PathInspector:
    """Looks at places. Its methods are generators: they yield events while they wait."""

    def __init__(self, bench: JobRunner, record: LogParser, cleaner: Redactor) -> None:
        self._bench = bench
        self._record = record
        self._cleaner = cleaner

    def at(self, place: RemotePath) -> Generator[Event, None, PathKind]:
        """What stands at a place; raises Refused if the storage does not tell."""
        if place.remote.backend == "webdav":
            # A stat would list the parent, which may be long, and believes an HTML page.
            # To hash a file one must find it: that is a PROPFIND of the very place. No
            # WebDAV server has CRC-32, so nothing is read.
            work = yield from self._bench.done(
                "operations/hashsumfile", fs=place.parent, remote=place.name, hashType="crc32"
            )
            error = work.error
            if error_codes.IS_A_DIRECTORY in error:
                return PathKind.FOLDER
            if error_codes.OBJECT_NOT_FOUND in error:
                return PathKind.MISSING
            if not error or "hash" in error:
                return PathKind.FILE
        else:
            work = yield from self._bench.done(
                "operations/stat", fs=place.parent, remote=place.name
            )
            error = work.error
            if not error:
                item = work.output.get("item")
                if item is None:
                    return PathKind.MISSING
                return PathKind.FOLDER if item.get("IsDir") else PathKind.FILE
        # "Is a file" would be said here of the folder that holds the place.
        raise CopyRefused(classify(self.cause(error), place.side, self._cleaner))

    def confirm_empty(self, source: RemotePath) -> Generator[Event, None, None]:
        """Make sure that a source without files is an empty folder.

        rclone takes a login page for an empty WebDAV folder, and a prefix of S3 that
        does not exist for an empty one: nothing copied is then no success.
        """
        is_webdav = source.remote.backend == "webdav"
        if source.is_root and not is_webdav:
            return  # there is nothing to be asked but the list, and that was had
        kind = yield from self.at(source)
        if kind is PathKind.MISSING and is_webdav:
            raise refusal(
                "unsupported",
                "The URL does not answer as a WebDAV folder: is it a login page, or "
                "not the server's WebDAV address?",
                Side.SOURCE,
            )
        if kind is PathKind.MISSING:
            raise refusal("source_not_found", "There is no such folder.", Side.SOURCE)
        if kind is PathKind.FILE:
            raise refusal(
                "not_a_directory",
                "The URL itself is a file: put its last part into `path`.",
                Side.SOURCE,
            )

    def confirm_there(self, source: RemotePath) -> Generator[Event, None, None]:
        """Make sure that a source of which nothing is wanted is a folder all the same."""
        if source.is_root and source.remote.backend != "webdav":
            # No folder holds it, in which it could be seen: whether it answers at all is
            # seen by asking for any file in it.
            inside = f"{source.path.rstrip('/')}/any"
            yield from self.at(RemotePath(source.remote, inside, source.side))
            return
        kind = yield from self.at(source)
        if kind is PathKind.MISSING:
            raise refusal("source_not_found", "There is no such folder.", source.side)
        if kind is PathKind.FILE:
            raise refusal("not_a_directory", "It is a file.", source.side)

    def cause(self, error: str) -> str:
        """Why a call failed, where rclone calls something a file that it may not look at."""
        return self._record.doubt or error if error_codes.IS_A_FILE in error else error

    def side_at_fault(self, source: RemotePath, destination: RemotePath) -> Side | None:
        """The side that an error without a word about it came from, if that can be told."""
        # With one remote for both there is no telling from its name.
        return None if source.remote == destination.remote else self._record.touched
