"""Finds out whether a path is a file, a folder or missing, where rclone's own error misleads."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from enum import Enum

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, Side


class PathKind(Enum):
    """What a path is."""

    FILE = "file"
    FOLDER = "folder"
    MISSING = "missing"


class CopyRefused(Exception):
    """The copy cannot begin: nothing was copied."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def refusal(code: str, message: str, side: Side | None) -> CopyRefused:
    """A refusal by this service and not by a storage; not retryable."""
    return CopyRefused(Failure(code, message, retryable=False, side=side))


def source_not_found(side: Side) -> CopyRefused:
    """The refusal of a folder that does not exist."""
    message = "The folder does not exist. Check `path` of this endpoint."
    return refusal("source_not_found", message, side)


def bucket_not_found(bucket: str) -> CopyRefused:
    """The refusal of a destination whose bucket does not exist."""
    message = f"There is no bucket `{bucket}`. Check `path`, or set `options.create_bucket`."
    return refusal("destination_not_found", message, Side.DESTINATION)


def not_a_folder(side: Side) -> CopyRefused:
    """The refusal of a file where only a folder will do."""
    message = "The path is a file, but a folder is needed here. Check `path` of this endpoint."
    return refusal("not_a_directory", message, side)


def confirm_single_file(source: RemotePath, kind: PathKind, selection: Selection) -> None:
    """Raise CopyRefused if the source cannot be copied as a single file."""
    if kind is PathKind.MISSING:
        text = "The file does not exist. Check `path` of this endpoint."
        raise refusal("source_not_found", text, Side.SOURCE)
    if source.path.endswith("/"):
        text = "The path is a file, but it ends with `/`. Remove the `/` to copy the file."
        raise refusal("not_a_directory", text, Side.SOURCE)
    if rc_config.filter_options(replace(selection, shard=None)):
        text = "The path is a file, but a selection needs a folder. Remove `selection`."
        raise refusal("unsupported", text, Side.SOURCE)


class PathInspector:
    """Asks a storage for the kind of a path. Its methods are generators: they yield events while
    they wait, and raise CopyRefused if the storage refuses to answer.
    """

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._jobs = jobs

    def kind_of(self, path: RemotePath) -> Generator[Event, None, PathKind]:
        """The kind of a path."""
        file = {"fs": path.parent, "remote": path.name}
        if path.remote.backend == "webdav":
            # A stat would list the parent, which may be long, and would accept an HTML page. To
            # hash a file, rclone sends a PROPFIND for exactly this path. No WebDAV server offers
            # CRC-32, so no content is read.
            job = yield from self._jobs.run("operations/hashsumfile", {**file, "hashType": "crc32"})
            error = job.error
            if error_codes.IS_A_DIRECTORY in error:
                return PathKind.FOLDER
            if error_codes.OBJECT_NOT_FOUND in error:
                return PathKind.MISSING
            if not error or "hash" in error:
                return PathKind.FILE
        else:
            job = yield from self._jobs.run("operations/stat", file)
            error = job.error
            if not error:
                item = job.output.get("item")
                if item is None:
                    return PathKind.MISSING
                return PathKind.FOLDER if item.get("IsDir") else PathKind.FILE
        # Here "is a file" would be about the folder that contains the path.
        raise CopyRefused(self._run.classify(self.true_cause(error), path.side))

    def confirm_empty(self, source: RemotePath) -> Generator[Event, None, None]:
        """Confirm that a source without files is an empty folder.

        rclone takes a login page for an empty WebDAV folder, and a missing prefix of S3 for an
        empty folder: then a copy of nothing is no success.
        """
        is_webdav = source.remote.backend == "webdav"
        if source.is_root and not is_webdav:
            return  # Only its listing could be asked for, and the copy had that.
        kind = yield from self.kind_of(source)
        if kind is PathKind.MISSING and is_webdav:
            raise refusal(
                "unsupported",
                "The server does not answer at this URL as a WebDAV folder. Check that `url` is "
                "the server's WebDAV address and not that of a login page.",
                Side.SOURCE,
            )
        if kind is PathKind.MISSING:
            raise source_not_found(Side.SOURCE)
        if kind is PathKind.FILE:
            raise refusal(
                "not_a_directory",
                "The URL itself is a file: move its last part from `url` to `path`.",
                Side.SOURCE,
            )

    def confirm_folder(self, source: RemotePath) -> Generator[Event, None, None]:
        """Confirm that a source, of which no file is selected, is a folder that can be read."""
        if source.is_root and source.remote.backend != "webdav":
            # No folder contains it, so it cannot be looked up; asking for any file in it shows
            # whether the storage answers.
            any_file = f"{source.path.rstrip('/')}/any"
            yield from self.kind_of(RemotePath(source.remote, any_file, source.side))
            return
        kind = yield from self.kind_of(source)
        if kind is PathKind.MISSING:
            raise source_not_found(source.side)
        if kind is PathKind.FILE:
            raise not_a_folder(source.side)

    def true_cause(self, error: str) -> str:
        """The cause of an error. "Is a file" is misleading where rclone could not look."""
        return self._run.log.head_error or error if error_codes.IS_A_FILE in error else error

    def failing_side(self, source: RemotePath, destination: RemotePath) -> Side | None:
        """The side of an error that mentions none; None if that is unknown."""
        # A remote that both sides share was opened for both.
        return None if source.remote == destination.remote else self._run.log.last_opened_side
