"""Copies files with unclean names to a storage with folders, unless another file has their place.

The copy of a folder leaves them out, and rclone logs each one. Only then are the names of all
other files known, so that no such file can replace another one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.unclean_names import MOST_NAMES, leads_out, place, taken
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side
from efss_transfer.model.storage_traits import traits

_PART: Final = r"(\.?\.?[^/.][^/]*|\.\.\.[^/]*)"
WITHOUT_UNCLEAN: Final = r"- /{{(.*/)?\.?\.?(/.*)?}}"
"""The filter rule that excludes exactly the files with an unclean name."""
WITHOUT_CLEAN: Final = "- /{{" + f"{_PART}(/{_PART})*" + "}}"
"""The filter rule that excludes all other files."""
_AT_ONCE: Final = 16
_LIST_OPTIONS: Final = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}


def are_merged(source: RemotePath, destination: RemotePath) -> bool:
    """Whether the source can have unclean names, and the destination has folders."""
    return (
        traits(source.remote.backend).has_buckets
        and not traits(destination.remote.backend).has_buckets
    )


def name_taken(run: RunContext, other: str) -> Failure:
    """The failure of a file whose place at the destination another file of the source has."""
    text = (
        f"The destination has one place for this file and {other!r}, which is the one that is "
        "copied: rename one of the two at the source, then copy again."
    )
    return _refused(run, text)


def _refused(run: RunContext, text: str) -> Failure:
    shown = run.redactor.redact(text, "The destination has no place for a file of this name.")
    return Failure("name_refused", shown, retryable=False, side=Side.DESTINATION)


class UncleanFiles:
    """The files of one source with unclean names, once all others have an outcome."""

    def __init__(self, run: RunContext, jobs: JobRunner, selection: Selection) -> None:
        self._run = run
        self._jobs = jobs
        self._selection = selection
        self.free: frozenset[str] = frozenset()
        """The names of the selected files whose place no other file has."""

    def find(self, source: RemotePath) -> Generator[Event, None, None]:
        """Set `free`, and add the outcomes of the files whose place is taken."""
        names = frozenset(self._run.log.unclean_names)
        if len(names) > MOST_NAMES:
            text = (
                f"The source has more than {MOST_NAMES:,} files whose names have an empty part, "
                "`.` or `..`; they were not copied. Copy each of its folders by a request of its "
                "own, or copy to an object store."
            )
            self._run.outcomes.add_final_error(_refused(self._run, text))
            return
        outside = {name for name in names if leads_out(name)}
        clean = yield from self._clean_names(source, {place(name) for name in names - outside})
        others = taken(names - outside, clean)
        refused = {name: name_taken(self._run, other) for name, other in others.items()}
        text = "The name leads out of the folder: rename the file at the source."
        refused |= dict.fromkeys(outside, _refused(self._run, text))
        if rc_config.filter_options(self._selection):
            names &= yield from self._selected(source)
        for name in sorted(refused.keys() & names):
            self._run.outcomes.add(FileOutcome(name, FileState.FAILED, error=refused[name]))
        self.free = names - refused.keys()

    def _clean_names(
        self, source: RemotePath, places: set[str]
    ) -> Generator[Event, None, set[str]]:
        """Those of the paths at which the source itself has a file."""
        outcomes = self._run.outcomes
        found = {path for path in places if outcomes.is_reported(path)}
        if self._selection.shard is None and not outcomes.failures_in_attempt:
            return found  # Every other file has an outcome.
        opt = {"filesOnly": True, "noModTime": True, "noMimeType": True}

        def keep(path: str, job: Job) -> None:
            # One that cannot be looked up may be there.
            if job.error or job.output.get("item"):
                found.add(path)

        calls = (
            RcCall(path, "operations/stat", {"fs": source.fs, "remote": path, "opt": opt})
            for path in sorted(places - found)
        )
        yield from self._jobs.run_all(calls, _AT_ONCE, keep)
        return found

    def _selected(self, source: RemotePath) -> Generator[Event, None, frozenset[str]]:
        """The unclean names that the request selects."""
        filters = rc_config.filter_options(self._selection, [WITHOUT_CLEAN])
        job = yield from self._jobs.run(
            "operations/list",
            {"fs": source.fs, "remote": "", "opt": _LIST_OPTIONS, "_filter": filters},
        )
        if job.error:
            self._run.outcomes.add_final_error(self._run.classify(job.error, Side.SOURCE))
        return frozenset(item["Path"] for item in job.output.get("list") or ())
