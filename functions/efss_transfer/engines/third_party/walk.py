"""Walks through the source, and the same folders of the destination, file by file."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from efss_transfer.engines import globs
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.sharding import contains
from efss_transfer.engines.third_party.comparison import FileInfo, info
from efss_transfer.engines.third_party.ends import End
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Failure, FileOutcome, FileState, Side
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.writes.names import PARTIAL

_DEEPEST: Final = 500
_LOOP: Final = (
    f"The folders are nested more than {_DEEPEST} deep, as with a link that leads back. Exclude "
    "this folder, or remove the link at the source."
)
_NOT_FOUND: Final = "The source has no such file."
_LISTED_AT_ONCE: Final = 8
_IS_A_FILE: Final = "The destination has a file in place of a folder above."
_IS_A_FOLDER: Final = "The destination has a folder in place of the file."
_Entries = tuple[list[Named] | None, list[Named] | None]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A selected file: its path below the source, and what both sides list for it."""

    path: str
    ours: FileInfo
    theirs: FileInfo | None


@dataclass(frozen=True, slots=True)
class _FolderToList:
    """A folder to list; `is_absent` if the destination lacks one above it, and `is_file` if it has
    a file in place of this one or of one above.
    """

    path: Segments
    is_absent: bool = False
    is_file: bool = False


class Walk:
    """A walk. What it cannot list, and files that do not exist, go to `outcomes` as failures.

    With `destination` None only the source is listed.
    """

    def __init__(
        self,
        source: End,
        destination: End | None,
        selection: Selection,
        outcomes: FileOutcomes,
    ) -> None:
        self._source = source
        self._destination = destination
        self._selection = selection
        self._outcomes = outcomes
        self._absent: set[Segments] = set()
        """Folders that were listed and that the destination lacks."""

    async def files(self) -> AsyncGenerator[SourceFile, None]:
        """Yield the selected files of the source, which is a folder."""
        folders = [_FolderToList(())]
        ahead: deque[tuple[_FolderToList, asyncio.Task[_Entries]]] = deque()
        try:
            while folders or ahead:
                while folders and len(ahead) < _LISTED_AT_ONCE:
                    folder = folders.pop()
                    ahead.append((folder, asyncio.create_task(self._entries(folder))))
                folder, listing = ahead.popleft()
                ours, theirs = await listing
                if ours is None or theirs is None:
                    continue
                there = {entry.name: entry for entry in theirs}
                for entry in ours:
                    path = (*folder.path, entry.name or "")
                    if entry.entry.collection:
                        if globs.selects(self._selection, "/".join(path), maybe_folder=True):
                            folders.append(self._below(folder, path, there.get(entry.name)))
                    elif self._is_selected(path, entry):
                        if folder.is_file:
                            self._fail_at_destination("/".join(path), _IS_A_FILE)
                        elif file := self.file(path, entry, there.get(entry.name)):
                            yield file
                self._absent.discard(folder.path)
        finally:
            for _, listing in ahead:
                listing.cancel()

    def _below(self, above: _FolderToList, path: Segments, theirs: Named | None) -> _FolderToList:
        """A folder of another one. `theirs` is what the destination has in its place."""
        is_file = above.is_file or (theirs is not None and not theirs.entry.collection)
        is_absent = above.is_absent or above.path in self._absent or is_file
        return _FolderToList(path, is_absent, is_file)

    async def _entries(self, folder: _FolderToList) -> _Entries:
        """The entries of a folder at both ends."""
        if len(folder.path) > _DEEPEST:
            failure = Failure("unsupported", _LOOP, retryable=False, side=Side.SOURCE)
            self._outcomes.add_error(failure, "/".join(folder.path))
            return None, None
        destination = None if folder.is_absent else self._destination
        return await asyncio.gather(
            self._listed(self._source, folder.path), self._listed(destination, folder.path)
        )

    def file(self, path: Segments, ours: Named, theirs: Named | None) -> SourceFile | None:
        """A file with what the destination has in its place.

        None if that is a folder, which a storage would remove with all that is in it.
        """
        name = "/".join(path)
        if theirs is not None and theirs.entry.collection:
            self._fail_at_destination(name, _IS_A_FOLDER)
            return None
        return SourceFile(name, info(ours), info(theirs) if theirs else None)

    def _fail_at_destination(self, path: str, text: str) -> None:
        self._fail(path, Failure("not_a_directory", text, False, Side.DESTINATION))

    async def listed_files(self, paths: tuple[str, ...]) -> AsyncGenerator[SourceFile, None]:
        """Yield the files that a request, or an attempt before, names by their paths."""
        for path in paths:
            names = tuple(path.split("/"))
            try:
                entry = await self._source.look((*self._source.root, *names))
                if entry is None or entry.entry.collection:
                    failure = Failure("source_not_found", _NOT_FOUND, False, Side.SOURCE)
                    self._fail(path, failure)
                    continue
                if self._is_bad(names, entry):
                    continue
            except (Failed, Refused, NoAnswer) as error:
                self._fail(path, self._source.failure(error))
                continue
            theirs = None
            if self._destination is not None:
                try:
                    theirs = await self._destination.look((*self._destination.root, *names))
                except (Failed, Refused, NoAnswer) as error:
                    self._fail(path, self._destination.failure(error))
                    continue
            file = self.file(names, entry, theirs)
            if file is not None:
                yield file

    async def _listed(self, end: End | None, folder: Segments) -> list[Named] | None:
        """The entries of a folder; none if the destination lacks it, None if it failed."""
        if end is None:
            return []
        at = (*end.root, *folder)
        entries: list[Named] = []
        left: list[tuple[str, Named]] = []
        try:
            async for some in end.entries(at):
                for entry in some:
                    if entry.name is None:
                        continue
                    if PARTIAL.fullmatch(entry.name):
                        left.append((entry.name, entry))
                    else:
                        entries.append(entry)
        except Failed as error:
            if error.status == 404 and end.side is Side.DESTINATION:
                end.is_missing(at)
                self._absent.add(folder)
                return []
            self._outcomes.add_error(end.failure(error), "/".join(folder))
            return None
        except (Refused, NoAnswer) as error:
            self._outcomes.add_error(end.failure(error), "/".join(folder))
            return None
        if end.side is Side.DESTINATION:
            end.is_there(at)
            for entry in entries:
                if not entry.entry.collection:
                    end.twins.found((*at, entry.name or ""))
            if left:
                await end.leftovers.tidy(at, [(name, entry.entry) for name, entry in left])
        return entries

    def _is_selected(self, path: Segments, entry: Named) -> bool:
        selection, name = self._selection, "/".join(path)
        if not globs.selects(selection, name):
            return False
        if selection.shard is not None and not contains(selection.shard, name):
            return False
        if self._is_bad(path, entry):
            return False
        if not selection.by_attribute:
            return True
        size, modified = entry.size or 0, info(entry).modified
        after, before = selection.modified_after, selection.modified_before
        return (
            (selection.min_size is None or size >= selection.min_size)
            and (selection.max_size is None or size <= selection.max_size)
            and (after is None or modified is None or modified >= after.timestamp())
            and (before is None or modified is None or modified <= before.timestamp())
        )

    def _is_bad(self, path: Segments, entry: Named) -> bool:
        """Whether the listing has an error in place of the file, which has failed then."""
        status = entry.entry.failure
        if status is None:
            return False
        text = f"The listing has the status {status} for this file."
        retryable = status in (423, 425, 429) or status >= 500
        code = "storage_busy" if retryable else "permission_denied"
        if status in (404, 410):
            code = "source_not_found"
        self._fail("/".join(path), Failure(code, text, retryable, Side.SOURCE))
        return True

    def _fail(self, path: str, failure: Failure) -> None:
        self._outcomes.add(FileOutcome(path, FileState.FAILED, error=failure))
