"""Reports the entries of indexes that rclone left out, if they are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urljoin

from efss_transfer.engines import globs, sharding
from efss_transfer.engines.long_names import shortened
from efss_transfer.engines.rclone.http_index.entries import IndexEntry
from efss_transfer.engines.rclone.http_index.reader import ERRORS, Head, PageReader
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side

_MOST: Final = 1_000
_MISSING: Final = frozenset({404, 410})
_NOT_FOLLOWED: Final = Failure(
    "unsupported",
    "The index of the folder has this entry, and its link cannot be followed, because it is not "
    "the folder's address and a name. Ask the operator for plain links, or use another protocol.",
    retryable=False,
    side=Side.SOURCE,
)
_TOO_MANY: Final = Failure(
    "unsupported",
    f"More than {_MOST} entries of indexes have links that cannot be followed.",
    retryable=False,
    side=Side.SOURCE,
)


class UnseenEntries:
    """Collects the entries of indexes that have no outcome. Call `report` after all folders."""

    def __init__(self, run: RunContext, selection: Selection, *, has_outcomes: bool = True) -> None:
        self._has_outcomes = has_outcomes
        self._run = run
        self._selection = selection
        self._asked: list[tuple[str, Future[Head | None]]] = []
        self._has_more = False

    def note(
        self,
        threads: ThreadPoolExecutor,
        reader: PageReader,
        entries: Iterator[IndexEntry],
        url: str,
        folder: str,
        known: frozenset[str],
    ) -> None:
        """Ask for the entries of the index at a URL that rclone left out. It takes those that are
        `known`, if the server answers HEAD for the file.
        """
        found = {f"{folder}/{entry.path}".lstrip("/"): entry for entry in entries}
        for path, entry in found.items():
            is_folder = path.endswith("/")
            if is_folder or not self._has_outcomes:
                is_seen = entry.path in known
            else:
                is_seen = self._run.outcomes.is_reported(shortened(path))
            if is_seen:
                continue
            shard = self._selection.shard
            is_ours = is_folder or shard is None or sharding.contains(shard, path)
            plain = path.rstrip("/")
            if not is_ours or not globs.selects(self._selection, plain, maybe_folder=is_folder):
                continue
            if len(self._asked) >= _MOST:
                self._has_more = True
                return
            plain_url = urljoin(url, f"./{quote(entry.path)}")
            asked = threads.submit(_head, reader, (entry.url, plain_url))
            # As the log names it.
            self._asked.append((shortened(plain) + "/" * is_folder, asked))

    @property
    def waiting(self) -> Iterator[Future[Head | None]]:
        """The answers that are awaited."""
        return (future for _, future in self._asked if not future.done())

    def report(self) -> None:
        """Add each that is there, once all answers are there."""
        for path, future in self._asked:
            head = future.result()
            if head is not None and (head.status in _MISSING or self._is_left_out(head)):
                continue  # Such as a dangling link.
            if path.endswith("/"):
                self._run.outcomes.add_error(_NOT_FOLLOWED, path.rstrip("/"))
            elif not self._run.outcomes.is_reported(path):
                self._run.outcomes.add(FileOutcome(path, FileState.FAILED, error=_NOT_FOLLOWED))
        if self._has_more:
            self._run.outcomes.add_error(_TOO_MANY)

    def _is_left_out(self, head: Head) -> bool:
        """Whether the selection leaves out a file of that size and time."""
        it, size, time = self._selection, head.size, head.modified
        if size is not None and (
            (it.min_size is not None and size < it.min_size)
            or (it.max_size is not None and size > it.max_size)
        ):
            return True
        if time is None:
            return False
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        return _is_before(time, it.modified_after) or _is_before(it.modified_before, time)


def _is_before(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other


def _head(reader: PageReader, urls: Sequence[str]) -> Head | None:
    """The answer to HEAD of the first URL at which a file is; None if there is no answer."""
    found: Head | None = None
    for url in urls:
        try:
            found = reader.head(url)
        except ERRORS:
            continue
        if found.status not in _MISSING:
            break
    return found
