"""Counts the files of a source again after a copy, and the bytes of an object store's.

An answer of an object store that is no listing, such as a page, reads as an empty listing, and the
length of a shorter answer replaces the size that the listing had (rclone 1.75, backend/s3/s3.go).
The copy lists folder by folder; this asks for all names at once, a thousand with each request.
A server with folders may end the listing of one early, as if that were all. It is asked again, if
nothing else looks at its listings and there is time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.listed_pages import ListedPages
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused
from efss_transfer.engines.seen_paths import SeenState
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side
from efss_transfer.model.storage_traits import traits

# rclone holds a listing in memory and sends it as one document.
_MOST_LISTED: Final = 100_000
_PAGE: Final = 1_000
"""Entries of a page of Google, Swift and B2; those of Azure have five times as many."""
_MOST_OF_SOME: Final = frozenset({1_000, 10_000})
"""Where S3 servers were seen to end a listing that ignore `max-keys` and tell of no other page."""
_LISTED_AGAIN: Final = frozenset({"ftp", "sftp", "webdav"})
_LOST: Final = Failure(
    "storage_error",
    "The listing of its folder lacked this file, and another listing has it. Send the same request "
    "again.",
    retryable=True,
    side=Side.SOURCE,
)
_NO_LISTING: Final = Failure(
    "storage_error",
    "The server lists nothing in this folder, although the folder exists. Check that `endpoint` is "
    "the address of an S3 server and not that of a login page.",
    retryable=True,
    side=Side.SOURCE,
)
_NO_S3: Final = Failure(
    "unsupported",
    "The server has a file of every name, so it is no S3 server. Check `endpoint`: it may be that "
    "of a login page.",
    retryable=False,
    side=Side.SOURCE,
)


def _unsure(backend: str, count: int) -> str:
    """Why a count of files of an object store leaves open whether it is all; empty if it is."""
    if count and (count in _MOST_OF_SOME if backend == "s3" else count % _PAGE == 0):
        return f"The server lists exactly {count} files, which may be the most that it lists."
    return ""


class Recount:
    """Compares the outcomes of a copy with a second listing of its source."""

    def __init__(self, run: RunContext, jobs: JobRunner, selection: Selection) -> None:
        self._run = run
        self._jobs = jobs
        self._selection = selection
        self._began = time.time()
        self._count = self._bytes = 0
        self._rules: Sequence[str] = ()
        self._is_due = False

    def begin(self, rules: Sequence[str]) -> None:
        """Let `find_lost` count the files of a folder, of which the filter `rules` left out more
        than the selection does.
        """
        self._rules, self._is_due = rules, True

    def find_lost(self, source: RemotePath) -> Iterator[Event]:
        """Add each selected file that has no outcome, once a folder was copied."""
        is_due, self._is_due, self._count = self._is_due, False, 0
        if not is_due or self._run.log.deferred:
            return  # the second part of the attempt is yet to come
        has_buckets = traits(source.remote.backend).has_buckets
        if not (has_buckets or self._has_time(source)) or self._run.log.duplicates:
            # Of names that rclone takes for one, the second must not replace the first.
            return
        outcomes = self._run.outcomes
        pages = ListedPages(self._run, self._jobs)
        job = yield from self._ask("operations/size", {"fs": source.fs, **self._filters})
        if job.error:
            if has_buckets:
                outcomes.warn("listing_unchecked", "", "The server refused the comparison.")
            return
        self._count = int(job.output.get("count") or 0)
        self._bytes = int(job.output.get("bytes") or 0)
        totals = outcomes.totals
        reported = totals.transferred + totals.skipped + totals.failed
        if source.remote.backend == "s3":
            has_fewer = self._count < reported
            found = yield from pages.look(source.fs, self._filters, has_fewer=has_fewer)
            if found is not None:
                outcomes.add_error(found)
                return
        if has_buckets and (text := _unsure(source.remote.backend, self._count)):
            outcomes.warn("listing_unchecked", "", text)
        if self._count <= reported:
            return
        if self._count > _MOST_LISTED:
            text = f"The source has {self._count} files, and listings of its folders {reported}."
            outcomes.add_error(Failure("storage_error", text, retryable=True, side=Side.SOURCE))
            return
        for item in (yield from self._list(source)):
            if not outcomes.is_reported(item["Path"]) and self._is_older(item):
                outcomes.add(FileOutcome(item["Path"], FileState.FAILED, error=_LOST))

    def _has_time(self, source: RemotePath) -> bool:
        """Whether a storage with folders is listed again: one of a type whose servers are of many
        kinds, and not looked at in another way, if there is time for another copy.
        """
        side = source.side
        is_seen = side in self._run.gateways or side in self._run.guessed_listings
        left = self._run.context.deadline - time.monotonic()
        return (
            source.remote.backend in _LISTED_AGAIN
            and not is_seen
            and left > time.time() - self._began
        )

    def confirm_empty(self, source: RemotePath) -> Iterator[Event]:
        """Raise CopyRefused if a folder of an S3 server is not listed, because a folder without
        entries is none there. Call it if the copy has met no file.
        """
        if source.remote.backend != "s3" or not source.bucket:
            return
        count = yield from self._count_of(source, self._filters)
        if count == 0 and self._filters:
            # Perhaps no file is selected.
            count = None if (yield from self._count_of(source, {})) else 0
        if count == 0 and (yield from self._is_folder(source)):
            return
        if count is not None:
            raise CopyRefused(_NO_LISTING)

    def confirm_file(self, source: RemotePath) -> Iterator[Event]:
        """Raise CopyRefused if an S3 server has a file of any name: then it is no S3 server."""
        if source.remote.backend != "s3":
            return
        any_name = f"efss-transfer-{secrets.token_hex(8)}"
        opt = {"noModTime": True, "noMimeType": True, "filesOnly": True}
        file = {"fs": source.parent, "remote": any_name, "opt": opt}
        job = yield from self._ask("operations/stat", file)
        if job.output.get("item"):
            raise CopyRefused(_NO_S3)

    def _count_of(
        self, source: RemotePath, filters: dict[str, Any]
    ) -> Generator[Event, None, int | None]:
        """The number of files; None if it is unknown."""
        job = yield from self._ask("operations/size", {"fs": source.fs, **filters})
        return None if job.error else int(job.output.get("count") or 0)

    def _is_folder(self, source: RemotePath) -> Generator[Event, None, bool]:
        """Whether the server lists a folder without files in the way of an S3 server."""
        if source.is_root:
            # A server that lists any bucket lists none.
            fs = f"{source.remote.name}:efss-transfer-{secrets.token_hex(8)}"
            job = yield from self._ask("operations/list", {"fs": fs, "remote": ""})
            return bool(job.error)
        # With markers rclone knows a folder that is an object of its own from an empty listing.
        fs = source.fs.replace(":", ",directory_markers=true:", 1)
        job = yield from self._ask("operations/list", {"fs": fs, "remote": ""})
        return error_codes.DIRECTORY_NOT_FOUND not in job.error

    def has_other_bytes(
        self, source: RemotePath, folder: str, names: Sequence[str] | None, at_once: int
    ) -> Generator[Event, None, bool]:
        """Whether the files that arrived have more or fewer bytes together than at the source.

        `names` are the files in the fs `folder` that were asked for by their names; None if they
        were all of a folder. Call it after the last attempt.
        """
        outcomes = self._run.outcomes
        totals = outcomes.totals
        is_whole = totals.transferred and not totals.failed  # otherwise it is no success anyway
        if not traits(source.remote.backend).has_buckets or not is_whole:
            return False
        outcomes.seal()
        if names is not None:
            size = yield from self._size_of(folder, filter(self._was_copied, names), at_once)
        elif self._count == totals.transferred:
            size = self._bytes
        elif self._count <= _MOST_LISTED:
            found = yield from self._list(source)
            size = sum(item["Size"] for item in found if self._was_copied(item["Path"]))
        else:
            return False
        return size != totals.transferred_bytes

    def _was_copied(self, path: str) -> bool:
        return self._run.outcomes.state_of(path) is SeenState.TRANSFERRED

    def _size_of(
        self, folder: str, names: Iterator[str], at_once: int
    ) -> Generator[Event, None, int]:
        sizes: list[int] = []

        def keep(_: Any, job: Job) -> None:
            sizes.append(int((job.output.get("item") or {}).get("Size", 0)))

        opt = {"noModTime": True, "noMimeType": True, "filesOnly": True}
        calls = (
            RcCall(None, "operations/stat", {"fs": folder, "remote": name, "opt": opt})
            for name in names
        )
        with self._run.log.probing():
            yield from self._jobs.run_all(calls, at_once, keep)
        return sum(sizes)

    def _list(self, source: RemotePath) -> Generator[Event, None, list[dict[str, Any]]]:
        """All selected files; their times are those of the server, which cost no request."""
        fs = source.fs.replace(":", ",override.use_server_modtime=true:", 1)
        opt = {"recurse": True, "filesOnly": True, "noMimeType": True}
        parameters = {"fs": fs, "remote": "", "opt": opt, **self._filters}
        job = yield from self._ask("operations/list", parameters)
        return list(job.output.get("list") or ())

    def _ask(self, call: str, parameters: dict[str, Any]) -> Generator[Event, None, Job]:
        with self._run.log.probing():
            return (yield from self._jobs.run(call, parameters))

    @property
    def _filters(self) -> dict[str, Any]:
        return rc_config.filter_parameter(self._selection, self._rules)

    def _is_older(self, item: dict[str, Any]) -> bool:
        """Whether the file was there when the transfer began."""
        return datetime.fromisoformat(item["ModTime"]).timestamp() < self._began
