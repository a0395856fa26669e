"""Copies one file: beside its name, compared with the source, then moved to its name.

A copy that breaks off, or whose service is killed, is so never found under the file's name, and a
file that is replaced stays until every byte of the new one is there. XRootD leaves an empty file
where a pull fails, and overwrites in a MOVE whatever `Overwrite` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from efss_transfer.engines.third_party.checking import CopyFailed, FileChecks
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.walk import SourceFile
from efss_transfer.engines.tpc.third_party import ThirdPartyCopies
from efss_transfer.model.request import Options
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side
from efss_transfer.webdav.folders import Orphan
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.writes.names import partial_name

_ORPHAN: Final = "The folder of the file could not be made: its parent is missing."


class FileCopier:
    """Copies files one at a time, for as many callers at once as there are.

    `unfinished` are copies beside their names, which must be removed if the run ends meanwhile.
    """

    def __init__(
        self,
        destination: End,
        copies: ThirdPartyCopies,
        options: Options,
        checks: FileChecks,
    ) -> None:
        self._destination = destination
        self._copies = copies
        self._options = options
        self._checks = checks
        self.unfinished: set[Segments] = set()

    async def copy(
        self, file: SourceFile, path: Segments, to: Segments, moved: Callable[[int], None]
    ) -> FileOutcome:
        """Copy a file and return its outcome.

        Raises CopyFailed, and what the destination raises.
        """
        try:
            await self._destination.make_folder(to[:-1])
        except Orphan:
            failure = Failure("storage_error", _ORPHAN, retryable=True, side=Side.DESTINATION)
            raise CopyFailed(failure) from None
        aside = (*to[:-1], partial_name())
        self.unfinished.add(aside)
        try:
            await self._copies.copy(path, aside, moved)
            size = await self._checks.compare(file, path, aside)
            if await self._has_appeared(file, to):
                await self._remove(aside)
                return FileOutcome(file.path, FileState.SKIPPED, size, reason=Reason.EXISTS)
            async with self._destination.twins.storing(to):
                is_there = file.theirs is not None
                await self._destination.moves.move(aside, to, size, overwrite=is_there)
        except (CopyFailed, Failed, Refused, NoAnswer):
            await self._remove(aside)
            raise
        self.unfinished.discard(aside)
        return FileOutcome(file.path, FileState.TRANSFERRED, size)

    async def _has_appeared(self, file: SourceFile, to: Segments) -> bool:
        """Whether a file that may not be replaced has appeared under the name meanwhile.

        XRootD overwrites whatever `Overwrite` says. Other storages refuse a file that appears later
        than this look, and another attempt compares it.
        """
        if file.theirs is not None or self._options.overwrite != "never":
            return False
        return await self._destination.look(to) is not None

    async def _remove(self, aside: Segments) -> None:
        await self._destination.remove(aside)
        self.unfinished.discard(aside)
