"""Read the files of one batch from one zip, as Nextcloud's `files` parameter makes it.

The first byte that is not as it was listed ends the reading of an archive: what was right before it
has been handed out, and the rest is read file by file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from efss_transfer.webdav.archives import zip_entries
from efss_transfer.webdav.archives.batches import Wanted
from efss_transfer.webdav.archives.plans import (
    LONGEST_TARGET,
    MOST_FILES,
    PARAMETERS,
    ArchivePlan,
    quoted,
)
from efss_transfer.webdav.budget import NARROW, Budget
from efss_transfer.webdav.bulk.batch_queue import resolve
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call
from efss_transfer.webdav.listings import Listings
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused, ServerSession

_ZIP: Final = "application/zip"
_MOST_BYTES: Final = 1 << 21
_MOST_FAILURES: Final = 3
_MOST_AT_ONCE: Final = 2
# For the answer's beginning, and for each file: one by one, others may be faster.
_SECONDS: Final = 15.0


class Fetcher:
    """Archives of one server. `is_possible` is false once they are not worth another request."""

    def __init__(self, session: ServerSession, listings: Listings, budget: Budget) -> None:
        self._session = session
        self._listings = listings
        self._budget = budget
        self._most_bytes = min(_MOST_BYTES, budget.pieces // 2)
        # Whether names with folders before them may be asked for. None: to be found out.
        self._takes_paths: bool | None = None
        self._failures = 0
        self.is_trusted = False
        self.is_possible = True

    @property
    def most_at_once(self) -> int:
        """How many archives may be under way: one, until one was as it should be."""
        return _MOST_AT_ONCE if self.is_trusted else 1

    def choose(self, waiting: Sequence[Wanted]) -> list[Wanted]:
        """Return those of the waiting files that the next archive is asked for."""
        chosen: list[Wanted] = []
        folder, size = waiting[0].path[:-1], 0
        length = len(self._listings.target(folder, folder=True)) + len(PARAMETERS)
        for one in waiting:
            if self._takes_paths is False and one.path[:-1] != folder:
                continue
            length += len(quoted("/".join(one.path)))
            size += one.listed.size
            is_full = length > LONGEST_TARGET or size > self._most_bytes
            if chosen and (is_full or len(chosen) >= MOST_FILES):
                break
            chosen.append(one)
        return chosen

    async def fetch(self, batch: Sequence[Wanted]) -> None:
        """Set the contents of the files that one archive brings, each as it arrives."""
        if not self.is_possible:
            return
        folder = _common([one.path[:-1] for one in batch])
        left = {"/".join(one.path[len(folder) :]): one for one in batch}
        has_paths = any("/" in name for name in left)
        try:
            # Not until the engine has taken the files: it may wait for an upload to be read,
            # and that for memory.
            async with self._budget.holding(sum(one.listed.size for one in batch) + NARROW):
                target = self._listings.target(folder, folder=True) + PARAMETERS + quoted(*left)
                await self._read(folder, target, left)
        except TimeoutError:
            self._failures += 1  # which costs more than any other
        except (Failed, Refused, NoAnswer):
            self._session.record.succeed(key(folder))  # the plain reads tell what is wrong
        self._learn(is_complete=not left, is_useless=len(left) == len(batch), has_paths=has_paths)

    async def read_ahead(self, plan: ArchivePlan, wanted: Mapping[str, Wanted]) -> bool:
        """Set the contents of the files of a plan, by the names of their entries. The memory for
        them is taken already. Return whether the archive was as it should be.
        """
        left = dict(wanted)
        target = self._listings.target(plan.folder, folder=True) + plan.parameters
        try:
            await self._read(plan.folder, target, left, plan.folders)
        except TimeoutError:
            self._failures += 1
        except (Failed, Refused, NoAnswer):
            self._session.record.succeed(key(plan.folder))  # the plain reads tell what is wrong
        self._learn(is_complete=not left, is_useless=False, has_paths=False)
        return not left

    async def _read(
        self,
        folder: Segments,
        target: str,
        left: dict[str, Wanted],
        folders: Collection[str] = (),
    ) -> None:
        """Read an archive, and take from `left` what it brings."""
        call, at = Call("GET", target, {"Accept": _ZIP}), key(folder)
        async with asyncio.timeout(_SECONDS) as limit, self._session.call(call, at) as answer:
            if answer.status < 400 and _kind(answer) != _ZIP:
                self.is_possible = False  # a server without archives, or a page
            elif answer.status == 200:
                await self._take(answer, left, limit, folders)

    async def _take(
        self,
        answer: Answer,
        left: dict[str, Wanted],
        limit: asyncio.Timeout,
        folders: Collection[str],
    ) -> None:
        def size_of(name: str) -> int | None:
            return left[name].listed.size if name in left else None

        try:
            async for name, content in zip_entries.files(answer, size_of, folders):
                if not left[name].listed.is_content(content):
                    return
                resolve(left.pop(name), content)
                limit.reschedule(asyncio.get_running_loop().time() + _SECONDS)
                if not left:
                    return
        except zip_entries.BadArchive:
            return

    def _learn(self, *, is_complete: bool, is_useless: bool, has_paths: bool) -> None:
        """Decide by one archive whether to ask for another."""
        if is_complete:
            self._failures = 0
            self.is_trusted = True
            self._takes_paths = has_paths or self._takes_paths
        elif has_paths and is_useless and self._takes_paths is None:
            self._takes_paths = False
        else:
            self._failures += 1
            self.is_possible = self.is_possible and self._failures < _MOST_FAILURES


def _kind(answer: Answer) -> str:
    return (answer.header("content-type") or "").partition(";")[0].strip().lower()


def _common(folders: Sequence[Segments]) -> Segments:
    """Return the deepest folder that all are in."""
    first, last = min(folders), max(folders)
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count]:
        count += 1
    return first[:count]
