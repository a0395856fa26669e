"""Asks for a listing again in pages of another length, where pages of it may be missing.

An S3 server that answers a later page by a login page, JSON or nothing has ended the listing, as
far as rclone tells (1.75, backend/s3/s3.go). Such a listing ends with a page, so its length depends
on theirs. Pages of 997 entries make that rare for a listing that is whole.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final

from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.unclean_files import WITHOUT_UNCLEAN
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Side

_LENGTH: Final = 997
_OTHER_LENGTH: Final = 1_000
# rclone leaves out the folder's own marker, and reports names that it cannot decode elsewhere.
_MOST_LEFT_OUT: Final = 3
_CUT: Final = Failure(
    "storage_error",
    "The server lists fewer files of everything than folder by folder, so it cuts listings off, "
    "and files may be missing. Ask its operator for the limit, or copy smaller folders.",
    retryable=False,
    side=Side.SOURCE,
)
_OF_NO_FOLDER: Final = frozenset({"- **", WITHOUT_UNCLEAN})


def parameters(backend: str) -> dict[str, str]:
    """The parameters of a remote of this type."""
    return {"list_chunk": str(_LENGTH)} if backend == "s3" else {}


class ListedPages:
    """Looks at one recount. Make it before the recount and use it right after it."""

    def __init__(self, run: RunContext, jobs: JobRunner) -> None:
        self._run = run
        self._jobs = jobs
        self._before = self._listed

    def look(
        self, fs: str, filters: Mapping[str, Any], *, has_fewer: bool
    ) -> Generator[Event, None, Failure | None]:
        """Return the error that the pages of the recount show; None if they are whole.

        `has_fewer`: whether it has fewer files than the listings of folders had.
        """
        count = self._listed - self._before
        if not (has_fewer or self._may_end_with_page(count, filters)):
            return None
        again = self._listed
        fs = fs.replace(":", f",list_chunk={_OTHER_LENGTH}:", 1)
        with self._run.log.probing():
            job = yield from self._jobs.run("operations/size", {"fs": fs, **filters})
        other = self._listed - again
        # Files that are deleted meanwhile make it smaller, and those that are added come at the
        # end of a page only by chance.
        if job.error or other < count:
            return None
        if other > count:
            return _failure(count, other)
        # It ends at a number, whatever the length of the pages.
        is_round = count > 0 and count % 100 == 0
        return _CUT if has_fewer and is_round and not self._run.log.unclean_names else None

    @staticmethod
    def _may_end_with_page(count: int, filters: Mapping[str, Any]) -> bool:
        if count < _LENGTH - _MOST_LEFT_OUT:
            return False
        rules = set(filters.get("_filter", {}).get("FilterRule", ())) - _OF_NO_FOLDER
        # By patterns of folders rclone lists each folder by itself, which may end anywhere.
        is_by_folder = any("/" in rule or "**" in rule for rule in rules)
        return is_by_folder or (-count) % _LENGTH <= _MOST_LEFT_OUT

    @property
    def _listed(self) -> int:
        return int(self._jobs.stats.get("listed") or 0)


def _failure(count: int, other: int) -> Failure:
    text = (
        f"The server lists {count} entries in pages of {_LENGTH}, and {other} in pages of "
        f"{_OTHER_LENGTH}, so it answers later pages by something else. Check `endpoint` and the "
        "proxy before the server, and send the same request again."
    )
    return Failure("storage_error", text, retryable=True, side=Side.SOURCE)
