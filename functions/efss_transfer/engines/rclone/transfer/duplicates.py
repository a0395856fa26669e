"""Reports the files and folders of a source that rclone passed over, because it takes their names
for others in the same folder.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Generator
from typing import Any, Final

from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.sharding import folded
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

_LIST_OPTIONS: Final = {"noModTime": True, "noMimeType": True}


class Duplicates:
    """The names that rclone passed over in one attempt."""

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._jobs = jobs

    def report(self, source: RemotePath) -> Generator[Event, None, None]:
        """Add each of them as a failure that names the other file or folder."""
        folders: dict[str, list[str]] = defaultdict(list)
        are_folders = dict(self._run.log.duplicates)
        for name in are_folders:
            folders[name.rpartition("/")[0]].append(name)
        for folder, names in folders.items():
            copied = yield from self._copied(source, folder, are_folders)
            for name in names:
                is_folder = are_folders[name]
                self._add(name, copied.get((_last_name(name), is_folder)), is_folder=is_folder)

    def _copied(
        self, source: RemotePath, folder: str, duplicates: Collection[str]
    ) -> Generator[Event, None, dict[tuple[str, bool], str]]:
        """The paths in a folder that rclone did not pass over, by what it compares: the last name,
        and whether it is a folder's.
        """
        parameters: dict[str, Any] = {"fs": source.fs, "remote": folder, "opt": _LIST_OPTIONS}
        job = yield from self._jobs.run("operations/list", parameters)
        return {
            (_last_name(item["Path"]), item["IsDir"]): item["Path"]
            for item in job.output.get("list") or ()
            if item["Path"] not in duplicates
        }

    def _add(self, name: str, other: str | None, *, is_folder: bool) -> None:
        kind = "folder" if is_folder else "file"
        second = "another one" if other is None else repr(other)
        text = (
            f"This {kind} was not copied, because its name and that of {second} in the same "
            "folder are one name to rclone or the destination: rename one of the two at the "
            "source, then copy again."
        )
        fallback = f"This {kind} was not copied, because its name is the same as that of another."
        shown = self._run.redactor.redact(text, fallback)
        failure = Failure("name_refused", shown, retryable=False, side=Side.SOURCE)
        if is_folder:
            self._run.outcomes.add_error(failure, name)
        else:
            self._run.outcomes.add(FileOutcome(name, FileState.FAILED, error=failure))


def _last_name(path: str) -> str:
    """The last name of a path, as rclone compares it with others at most."""
    return folded(posixpath.basename(path.rstrip("/")))
