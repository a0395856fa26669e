"""Lists one folder of a WebDAV storage, or the file that its path is."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.groups import ErrorGroups
from efss_transfer.engines.third_party.comparison import info
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.looks.look import Look
from efss_transfer.model.errors import CODES
from efss_transfer.model.listing import FolderEntry, FolderListing
from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import Failure
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.session import Failed
from efss_transfer.webdav.words import Words

NOT_FOUND: Final = Failure("source_not_found", "The folder or file does not exist.", False)
_FILE_WITH_SLASH: Final = "The path is a file, but it ends with `/`. Remove the `/` from `path`."


def list_folder(
    settings: Settings, endpoint: Endpoint, limit: int, context: Context
) -> FolderListing:
    """List a folder: see the protocol `ListingEngine`."""
    look = Look(settings, endpoint, context)
    with look.connected():
        ends_with_slash = endpoint.path.endswith("/")
        found, failure = look.run(lambda: _listed(look.end, limit, ends_with_slash))
    return found or FolderListing(failure=failure)


async def _listed(end: End, limit: int, ends_with_slash: bool) -> FolderListing:
    own = await end.look(end.root)
    if own is None:
        return FolderListing(failure=NOT_FOUND)
    if not own.entry.collection:
        if ends_with_slash:
            retryable = CODES["not_a_directory"].retryable
            return FolderListing(failure=Failure("not_a_directory", _FILE_WITH_SLASH, retryable))
        return FolderListing((_entry(own, end.root[-1] if end.root else ""),), 1)
    first = _FirstEntries(limit)
    errors = ErrorGroups()
    async with aclosing(end.listings.read(end.root, "1", folder=True)) as batches:
        async for batch in batches:
            for one in batch:
                if one.name is None:
                    continue
                if (status := one.entry.failure) is not None:
                    failure = end.failure(Failed(status, Words(status)))
                    errors.add(replace(failure, side=None), one.name)
                else:
                    first.add(_entry(one, one.name))
    return FolderListing(first.entries(), first.count, errors.groups())


class _FirstEntries:
    """The first `limit` entries of a folder: folders first, then by name."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._kept: list[FolderEntry] = []

    def add(self, entry: FolderEntry) -> None:
        self.count += 1
        self._kept.append(entry)
        if len(self._kept) >= 2 * self._limit + 1_000:
            self._drop_rest()

    def entries(self) -> tuple[FolderEntry, ...]:
        self._drop_rest()
        return tuple(self._kept)

    def _drop_rest(self) -> None:
        self._kept.sort(key=lambda entry: (not entry.is_folder, entry.name))
        del self._kept[self._limit :]


def _entry(one: Named, name: str) -> FolderEntry:
    known = info(one)
    modified = None if known.modified is None else datetime.fromtimestamp(known.modified, UTC)
    is_folder = one.entry.collection
    return FolderEntry(name, is_folder, None if is_folder else known.size, modified)
