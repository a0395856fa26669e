"""Reports the files and folders of a source that rclone passed over, because it takes their names
for others in the same folder.
"""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Generator
from typing import Any, Final

from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.sharding import folded
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

_BY_PATH: Final = frozenset({"ftp", "http", "sftp", "smb", "webdav"})
"""Types that have one file or folder at a path, and list a folder at once. An object store that
lists a key twice may have sent a page twice, in place of another one."""
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
        is_by_path = source.remote.backend in _BY_PATH
        for folder, names in folders.items():
            items = yield from self._listed(source, folder)
            counts = Counter((item["Path"], item["IsDir"]) for item in items)
            # The paths that rclone did not pass over, by what it compares.
            copied = {
                (_last_name(path), is_folder): path
                for path, is_folder in counts
                if path not in are_folders
            }
            for name in names:
                is_folder = are_folders[name]
                if is_by_path and counts[name, is_folder] > 1:
                    continue  # The server lists one and the same twice.
                self._add(name, copied.get((_last_name(name), is_folder)), is_folder=is_folder)

    def _listed(
        self, source: RemotePath, folder: str
    ) -> Generator[Event, None, list[dict[str, Any]]]:
        parameters: dict[str, Any] = {"fs": source.fs, "remote": folder, "opt": _LIST_OPTIONS}
        job = yield from self._jobs.run("operations/list", parameters)
        return list(job.output.get("list") or ())

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
