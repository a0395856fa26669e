"""Read the files of one batch from one zip, as the archiver of oCIS and OpenCloud makes it.

Its entries have the files' names without their folders, in the order of the ids in the request. It
answers 200 whatever happens once it has begun: then an error's text stands in the archive, or a
file has no bytes, or the rest is missing. So the first entry that is not as it was listed ends the
use of the archiver: what was right before it has been handed out, and the rest is read file by
file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from efss_transfer.webdav.archives import zip_entries
from efss_transfer.webdav.archives.archiver_offer import ArchiverOffer, offered
from efss_transfer.webdav.archives.batches import Wanted
from efss_transfer.webdav.archives.identified_files import IdentifiedFile
from efss_transfer.webdav.archives.zip_entries import BadArchive
from efss_transfer.webdav.budget import NARROW, Budget
from efss_transfer.webdav.bulk.batch_queue import resolve
from efss_transfer.webdav.bulk.capabilities import Capabilities
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Call
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import segments
from efss_transfer.webdav.recognition import site
from efss_transfer.webdav.session import Failed, Refused, ServerSession

_PARAMETERS: Final = "?output-format=zip"
# Three quarters of what nginx and Apache take by default: about 50 ids.
_LONGEST_TARGET: Final = 6000
_MOST_FILES: Final = 100
_MOST_BYTES: Final = 1 << 21
_FEWEST_FILES: Final = 2
_MOST_FAILURES: Final = 3
_MOST_AT_ONCE: Final = 2
# For the answer's beginning, and for each file: one by one, others may be faster.
_SECONDS: Final = 15.0


class Archiver:
    """The archiver of one server. `is_possible` is false once it is not used any more."""

    def __init__(self, session: ServerSession, budget: Budget) -> None:
        self._session = session
        self._budget = budget
        self._capabilities = Capabilities(session)
        most_bytes = min(_MOST_BYTES, budget.pieces // 2)
        # The server's limits hold as well, once they are known.
        self._limits = ArchiverOffer("", _MOST_FILES, most_bytes)
        self._failures = 0
        self._is_trusted = False
        self.is_possible = True

    @property
    def most_at_once(self) -> int:
        """How many archives may be under way: one, until one was as it should be."""
        return _MOST_AT_ONCE if self._is_trusted else 1

    def choose(self, waiting: Sequence[Wanted]) -> list[Wanted]:
        """Return those of the waiting files that the next archive is asked for."""
        chosen: list[Wanted] = []
        limits, size = self._limits, 0
        length = len(limits.target) + len(_PARAMETERS)
        for one in waiting:
            length += len(_parameter(one))
            size += one.listed.size
            is_full = length > _LONGEST_TARGET or size > limits.most_bytes
            if chosen and (is_full or len(chosen) >= limits.most_files):
                break
            chosen.append(one)
        return chosen

    async def fetch(self, batch: Sequence[Wanted]) -> None:
        """Set the contents of the files that one archive brings, each as it arrives."""
        if not self.is_possible or not await self._is_offered():
            return
        asked = self.choose(batch)  # the server's limits may not have been known before
        at = key(asked[0].path)
        try:
            # Not until the engine has taken the files: it may wait for an upload to be read,
            # and that for memory.
            async with self._budget.holding(sum(one.listed.size for one in asked) + NARROW):
                await self._read(asked, at)
        except BadArchive:
            self.is_possible = False
        except TimeoutError:
            self._failures += 2  # which costs more than any other
        except (Failed, Refused, NoAnswer):
            self._session.record.succeed(at)  # the plain reads tell what is wrong
            self._failures += 1
        else:
            self._failures = 0
            self._is_trusted = True
        self.is_possible = self.is_possible and self._failures < _MOST_FAILURES

    async def _is_offered(self) -> bool:
        """Ask once what the server offers; return whether that is of use."""
        if self._limits.target:
            return True
        path = site(self._session.home)
        found = None
        if path is not None:
            names = segments(path)
            archivers = await self._capabilities.get(names, "files", "archivers")
            found = offered(archivers, names, self._session.upstream.origin)
        if found is None or found.most_files < _FEWEST_FILES:
            self.is_possible = False
            return False
        most_files = min(found.most_files, self._limits.most_files)
        most_bytes = min(found.most_bytes, self._limits.most_bytes)
        self._limits = replace(found, most_files=most_files, most_bytes=most_bytes)
        return True

    async def _read(self, asked: Sequence[Wanted], at: str) -> None:
        """Read an archive. Raises BadArchive if any of it is not as it was listed."""
        target = self._limits.target + _PARAMETERS + "".join(map(_parameter, asked))
        left: dict[str, deque[Wanted]] = {}
        for one in asked:
            left.setdefault(one.path[-1], deque()).append(one)

        def size_of(name: str) -> int | None:
            return left[name][0].listed.size if left.get(name) else None

        call = Call("GET", target)
        async with asyncio.timeout(_SECONDS) as limit, self._session.call(call, at) as answer:
            if answer.status != 200:
                raise BadArchive("the server makes no archive")
            async for name, content in zip_entries.files(answer, size_of):
                one = left[name].popleft()
                if not one.listed.is_content(content):
                    raise BadArchive("an entry has other bytes than were listed")
                resolve(one, content)
                limit.reschedule(asyncio.get_running_loop().time() + _SECONDS)
        if any(left.values()):
            raise BadArchive("a file was left out")


def _parameter(one: Wanted) -> str:
    listed = one.listed
    return f"&id={quote(listed.file_id, safe='!')}" if isinstance(listed, IdentifiedFile) else ""
