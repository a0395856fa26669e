"""Finds folders that an HTTP index links to without a slash: rclone copies their page as a file.

rclone logs nothing about them. The probe of the source has the type of each file. A page whose name
does not say that it is one is listed as a folder; a page that is none has no listing below it. If
the probe was too short, or made none for a dry run, the copied files are asked for their type whose
names do not tell it, and that are small enough for an index.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Generator, Iterator
from mimetypes import MimeTypes
from typing import Final

from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.source_probe import is_page
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, FileOutcome, Side

_LARGEST_INDEX: Final = 8 << 20
# Files of one kind have one extension, and folders such as `v1.2` have many.
_MOST_OF_AN_EXTENSION: Final = 5
_MOST: Final = 1_000
_AT_ONCE: Final = 8
_PAGES: Final = frozenset(
    {".asp", ".aspx", ".cgi", ".htm", ".html", ".jsp", ".php", ".shtml", ".xhtml"}
)
_STAT_OPTIONS: Final = {"noModTime": True, "filesOnly": True}
_LIST_OPTIONS: Final = {"noModTime": True, "noMimeType": True}
_TEXT: Final = (
    "The index links to this folder without a `/`, so its page was taken for a file, and the "
    "folder's files are missing. Set the parameter `no_slash` to true; then every page of the "
    "source is read as a folder."
)


def may_link_folders(source: RemotePath, selection: Selection) -> bool:
    """Whether rclone lists the source, and tells folders by the `/` of their links alone."""
    remote = source.remote
    is_by_slash = remote.backend == "http" and remote.parameters.get("no_slash") != "true"
    return is_by_slash and selection.files is None


class LinkedFolders:
    """The files of a source of type `http` that may be folders. `pages` are all its HTML pages;
    None if they are unknown.
    """

    def __init__(self, run: RunContext, jobs: JobRunner, pages: frozenset[str] | None) -> None:
        self._run = run
        self._jobs = jobs
        self._pages = pages
        self._types = MimeTypes()
        self._candidates: list[str] = []
        self._extensions: Counter[str] = Counter()

    def note(self, outcome: FileOutcome) -> None:
        """Take the outcome of a file. Called by the thread that reads the log."""
        if outcome.error is not None or (outcome.size or 0) > _LARGEST_INDEX:
            return
        if self._pages is not None and outcome.path not in self._pages:
            return
        extension = posixpath.splitext(outcome.path)[1].lower()
        if extension in _PAGES or extension in self._types.types_map[True]:
            return
        self._extensions[extension] += 1
        most = _MOST_OF_AN_EXTENSION if extension else _MOST
        if self._extensions[extension] <= most and len(self._candidates) < _MOST:
            self._candidates.append(outcome.path)

    def check(self, source: RemotePath) -> Iterator[Event]:
        """Make each copied page that is a folder a failure."""
        candidates, self._candidates = self._candidates, []
        folders: list[str] = []
        if candidates:
            with self._run.log.probing():  # A page without a listing below it is no error.
                folders = yield from self._folders(source, candidates)
        for path in folders:
            self._add(path)

    def _folders(
        self, source: RemotePath, candidates: list[str]
    ) -> Generator[Event, None, list[str]]:
        """The candidates that are pages, and have a listing below them."""
        pages: list[str] = []

        def keep_page(path: str, job: Job) -> None:
            if is_page(job.output.get("item") or {}):
                pages.append(path)

        if self._pages is not None:
            pages, candidates = candidates, []
        yield from self._jobs.run_all(
            (
                RcCall(
                    path, "operations/stat", {"fs": source.fs, "remote": path, "opt": _STAT_OPTIONS}
                )
                for path in candidates
            ),
            _AT_ONCE,
            keep_page,
        )
        folders = []
        for path in pages:
            listing = {"fs": source.fs, "remote": path, "opt": _LIST_OPTIONS}
            job = yield from self._jobs.run("operations/list", listing)
            if not job.error:
                folders.append(path)
        return folders

    def _add(self, path: str) -> None:
        outcomes = self._run.outcomes
        failure = Failure("unsupported", _TEXT, retryable=False, side=Side.SOURCE)
        # A file of a dry run has not arrived, and stays as it is.
        if not (outcomes.is_reported(path) and outcomes.add_mismatch(path, failure)):
            outcomes.add_error(failure, path)
