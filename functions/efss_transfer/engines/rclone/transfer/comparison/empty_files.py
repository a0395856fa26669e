"""Reads files that a source lists as empty, because some are not.

rclone believes the size that the source lists. A destination such as an object store needs the size
before the content: to it rclone sends an empty file where the source lists 0 bytes or no size, and
then finds both sides equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, Reason, Side

_TYPES: Final = frozenset({"ftp", "sftp", "webdav"})
"""Types whose servers are of many kinds. The files of object stores are counted again, and a
WebDAV gateway asks for such a size itself."""
_MOST: Final = 1_000
"""Maximum number of files to read. A server that lists a file so does it to most of a kind."""
_NOTHING: Final = hashlib.md5(b"", usedforsecurity=False).hexdigest()
_HAS_CONTENT: Final = Failure(
    "checksum_mismatch",
    "The source lists this file as empty, but it has content, which was not copied. Copy it by "
    "another protocol, or ask the operator of the source.",
    retryable=False,
    side=Side.SOURCE,
)


class EmptyFiles:
    """The files of a source that have arrived with 0 bytes."""

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._jobs = jobs
        self._paths: dict[str, None] = {}

    def begin(self, source: RemotePath) -> None:
        """Note the files from now on, if the source's type asks for it."""
        if source.remote.backend in _TYPES and Side.SOURCE not in self._run.gateways:
            self._run.log.on_outcome(self._note)

    def _note(self, outcome: FileOutcome) -> None:
        """Take the outcome of a file. Called by the thread that reads the log."""
        has_arrived = outcome.error is None and outcome.reason in (None, Reason.SAME)
        if has_arrived and outcome.size == 0 and len(self._paths) < _MOST:
            self._paths[outcome.path] = None

    def check(self, folder: str, at_once: int) -> Iterator[Event]:
        """Make each of them in the fs `folder` a failure that has content after all. A file that
        cannot be read stays as it is: rclone has opened it for the copy.
        """
        if not self._paths:
            return
        found: list[str] = []

        def keep(path: str, job: Job) -> None:
            if not job.error and job.output.get("hash") != _NOTHING:
                found.append(path)

        reading = {"fs": folder, "hashType": "md5", "download": True}
        calls = (
            RcCall(path, "operations/hashsumfile", {**reading, "remote": path})
            for path in tuple(self._paths)
        )
        with self._run.log.probing():
            yield from self._jobs.run_all(calls, at_once, keep)
        self._run.outcomes.seal()
        for path in found:
            self._run.outcomes.add_mismatch(path, _HAS_CONTENT)
