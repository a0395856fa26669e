"""Finds links of an SFTP source that lead back to a folder above them.

rclone follows links, and a server resolves forty of them: one link to its own folder makes 41
copies of each file, two make more than can be counted. The listing before the copy shows most of
them, so that they are left out. In a tree that is too large for that listing, the first files below
a loop show it: the copy is stopped, begun again without the loop, and its files are removed.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final

from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.config import literal
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.seen_paths import SeenState
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, FileOutcome, Side

# A path that passes a loop three times: names that repeat twice are common, as in `data/data`.
_PASSES: Final = 3
_LONGEST_LOOP: Final = 16
_MOST_LOOPS: Final = 100
_AT_ONCE: Final = 16
_LIST: Final = {"noMimeType": True}
_LIST_FILES: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}
_TEXT: Final = (
    "This folder is a link that leads back to a folder above it. It was left out, because its "
    "content would be copied again and again. Remove the link, or exclude it."
)
_FAILURE: Final = Failure("unsupported", _TEXT, retryable=False, side=Side.SOURCE)

Loop = tuple[str, str]
"""A folder, and the folder above it that it leads back to."""


def candidates(path: str) -> Iterator[Loop]:
    """The loops that the path of a folder may pass."""
    names = path.split("/")
    for length in range(1, min(_LONGEST_LOOP, len(names) // _PASSES) + 1):
        for start in range(len(names) - _PASSES * length + 1):
            block = names[start : start + length]
            if all(
                names[start + turn * length : start + (turn + 1) * length] == block
                for turn in range(1, _PASSES)
            ):
                yield "/".join(names[: start + length]), "/".join(names[:start])
                return


class LinkLoops:
    """The loops of one source. `note` is called by the thread that reads the log."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}
        self._known: set[str] = set()
        self.rules: list[str] = []
        """Filter rules that leave out the loops."""

    def note(self, outcome: FileOutcome) -> None:
        """Take the outcome of a file: its folder may be part of a loop."""
        if outcome.path.count("/") >= _PASSES:
            self.note_folder(outcome.path.rpartition("/")[0])

    def note_folder(self, path: str) -> None:
        """Take the path of a folder."""
        for folder, above in candidates(path):
            with self._lock:
                if folder not in self._known and len(self._known) < _MOST_LOOPS:
                    self._known.add(folder)
                    self._found[folder] = above

    @property
    def has_found(self) -> bool:
        """Whether a path was seen that may pass a loop."""
        return bool(self._found)

    def confirm(self, jobs: JobRunner, source: RemotePath) -> Generator[Event, None, list[str]]:
        """Compare the folders that may be loops with those above. Report and return the loops."""
        with self._lock:
            found, self._found = self._found, {}
        listings: dict[str, Any] = {}

        def keep(folder: str, job: Job) -> None:
            listings[folder] = None if job.error else _entries(job.output.get("list") or ())

        calls = [
            RcCall(folder, "operations/list", {"fs": source.fs, "remote": folder, "opt": _LIST})
            for folder in sorted({*found, *found.values()})
        ]
        with self._run.log.probing():
            yield from jobs.run_all(calls, _AT_ONCE, keep)
        loops: list[str] = []
        for folder, above in sorted(found.items()):
            is_below = any(f"{folder}/".startswith(f"{loop}/") for loop in loops)
            if not is_below and listings.get(folder) and listings[folder] == listings.get(above):
                loops.append(folder)
        for loop in loops:
            self._run.outcomes.add_error(_FAILURE, loop)
            self.rules.append(f"- /{literal(loop)}/**")
        return loops

    def remove(
        self, jobs: JobRunner, loops: Sequence[str], destination: RemotePath
    ) -> Iterator[Event]:
        """Remove what this transfer has already copied from below the loops."""
        self._run.outcomes.seal()
        with self._run.log.probing():
            for loop in loops:
                listing = {"fs": destination.fs, "remote": loop, "opt": _LIST_FILES}
                job = yield from jobs.run("operations/list", listing)
                paths = [str(item["Path"]) for item in job.output.get("list") or ()]
                calls = (
                    RcCall(path, "operations/deletefile", {"fs": destination.fs, "remote": path})
                    for path in paths
                    if self._run.outcomes.state_of(path) is SeenState.TRANSFERRED
                    and self._run.outcomes.add_mismatch(path, _FAILURE)
                )
                yield from jobs.run_all(calls, _AT_ONCE, lambda _path, _job: None)
                if paths:
                    folder = {"fs": destination.fs, "remote": loop}
                    yield from jobs.run("operations/rmdirs", folder)


def _entries(items: Iterable[Any]) -> frozenset[tuple[str, bool, int, str]]:
    """What a listing shows of a folder's entries."""
    return frozenset(
        (str(item["Name"]), bool(item["IsDir"]), int(item["Size"]), str(item.get("ModTime", "")))
        for item in items
    )
