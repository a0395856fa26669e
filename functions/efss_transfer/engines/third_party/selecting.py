"""Which files a request selects, and where each is at the source and at the destination."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.walk import SourceFile, Walk
from efss_transfer.model.request import Limits, TransferRequest
from efss_transfer.model.result import Failure, Side
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.listings import Named
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused

_ONLY_A_FOLDER: Final = "The path is a file, but a selection needs a folder. Remove `selection`."
_NO_FOLDER: Final = "The path is a file, but it ends with `/`. Remove the `/` to copy the file."
_NOT_FOUND: Final = "The source does not exist. Check `path` of this endpoint."


class SourceRefused(Exception):
    """The copy cannot begin: what the request names as its source cannot be copied."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.failure = Failure(code, message, retryable=False, side=Side.SOURCE)


class SelectedFiles:
    """The files of one request. What cannot be listed goes to `outcomes` as failures."""

    def __init__(
        self,
        source: End,
        destination: End,
        request: TransferRequest,
        limits: Limits,
        outcomes: FileOutcomes,
    ) -> None:
        self._source = source
        self._destination = destination
        self._request = request
        self._limits = limits
        self._outcomes = outcomes
        self._is_single = False

    async def files(self, paths: tuple[str, ...] | None) -> AsyncGenerator[SourceFile, None]:
        """The files to look at, or those of an attempt before. Raises SourceRefused, and what the
        source raises.
        """
        walk = Walk(self._source, self._destination, self._request.selection, self._outcomes)
        selection, path = self._request.selection, self._request.source.path
        root = self._source.root
        is_folder_named = not path or path.endswith("/")
        found = await self._source.look(root, folder=is_folder_named)
        if found is None:
            raise SourceRefused("source_not_found", _NOT_FOUND)
        if not found.entry.collection:
            if is_folder_named:
                raise SourceRefused("not_a_directory", _NO_FOLDER)
            if selection.files is not None or selection.include or selection.exclude:
                raise SourceRefused("unsupported", _ONLY_A_FOLDER)
            self._is_single = True
            return self._single(walk, found)
        limits = self._limits
        if limits.files is not None or limits.bytes is not None:
            await self._confirm_within(limits)
        if paths is None and selection.files is not None:
            paths = tuple(file.path for file in selection.files)
        return walk.files() if paths is None else walk.listed_files(paths)

    async def _single(self, walk: Walk, found: Named) -> AsyncGenerator[SourceFile, None]:
        """Yield the source itself, which is a file."""
        name = self._source.root[-1]
        try:
            theirs = await self._destination.look(self.target(name))
        except (Failed, Refused, NoAnswer) as error:
            self._outcomes.add_error(self._destination.failure(error))
            return
        file = walk.file((name,), found, theirs)
        if file is not None:
            yield file

    async def _confirm_within(self, limits: Limits) -> None:
        """Raise SourceRefused if the source has more than one transfer may copy."""
        files = size = 0
        walk = Walk(self._source, None, self._request.selection, FileOutcomes())
        listed = self._request.selection.files
        found = (
            walk.files()
            if listed is None
            else walk.listed_files(tuple(file.path for file in listed))
        )
        async for file in found:
            files, size = files + 1, size + (file.ours.size or 0)
        for unit, count, most in (("files", files, limits.files), ("bytes", size, limits.bytes)):
            if most is not None and count > most:
                raise SourceRefused(
                    "forbidden",
                    f"The source has {count} {unit}; the limit here is {most}. Select fewer "
                    "files, or split the transfer.",
                )

    def path(self, path: str) -> Segments:
        """Where a file is at the source."""
        root = self._source.root
        return root if self._is_single else (*root, *path.split("/"))

    def target(self, path: str) -> Segments:
        """Where a file arrives: below the destination, or as its path if that names the file."""
        root = self._destination.root
        if not self._is_single or self._request.destination.path.endswith("/") or not root:
            return (*root, *path.split("/"))
        return root
