"""Names the folder of a source that vanished during the copy, and with it many files."""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Iterator
from typing import Final

from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused, PathInspector, PathKind
from efss_transfer.model.events import Event
from efss_transfer.model.result import ErrorGroup, Sample, Side
from efss_transfer.model.storage_traits import traits

_CODE: Final = "source_not_found"


class VanishedFolder:
    """Looks for it after the copy. Only the result's samples are looked at, so it costs a call or
    two, and none if no files are missing.
    """

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._inspector = PathInspector(run, jobs)

    def look(self, source: RemotePath) -> Iterator[Event]:
        """Say of missing files that their folder is missing, if it is. `source` is a folder."""
        missing = [it for it in self._run.outcomes.errors if _is_of_files(it)]
        if not missing or traits(source.remote.backend).has_buckets:
            return
        folders = [posixpath.dirname(sample.path) for sample in missing[0].samples]
        common = posixpath.commonpath(folders)
        self._run.forget()
        # The root first: its own folders are missing as well.
        parents = [common[:at] for at, sign in enumerate(common) if sign == "/"]
        for path in dict.fromkeys(("", *parents, common)):
            folder = RemotePath(source.remote, posixpath.join(source.path, path), source.side)
            if not folder.is_root and (yield from self._is_missing(folder)):
                name = folder.path.strip("/")[-200:]
                text = (
                    f"The folder `{name}` was moved, renamed or deleted during the copy, and its "
                    "files with it. Put it back or check `path`, and send the same request again."
                )
                shown = self._run.redactor.redact(text, _CODE)
                self._run.outcomes.lead(missing[0], Sample(path, shown))
                return

    def _is_missing(self, folder: RemotePath) -> Generator[Event, None, bool]:
        try:
            with self._run.log.probing():
                kind = yield from self._inspector.kind_of(folder)
        except CopyRefused as refused:
            return refused.failure.code == _CODE
        return kind is PathKind.MISSING


def _is_of_files(group: ErrorGroup) -> bool:
    is_missing = group.code == _CODE and group.side is Side.SOURCE
    return is_missing and group.count > 1 and all(it.path for it in group.samples)
