"""Copies one file: beside its name, compared with the source, then moved to its name.

A copy that breaks off, or whose service is killed, is so never found under the file's name, and a
file that is replaced stays until every byte of the new one is there. XRootD leaves an empty file
where a pull fails, and overwrites in a MOVE whatever `Overwrite` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from efss_transfer.engines.tpc import digests
from efss_transfer.engines.tpc.digests import Digest
from efss_transfer.engines.tpc.ends import End
from efss_transfer.engines.tpc.third_party import CopyFailed, ThirdPartyCopies
from efss_transfer.engines.tpc.walk import SourceFile
from efss_transfer.model.request import ListedFile, Options
from efss_transfer.model.result import Failure, FileOutcome, FileState, Reason, Side
from efss_transfer.model.verification import VerifyMode
from efss_transfer.webdav.folders import Orphan
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused
from efss_transfer.webdav.writes.names import partial_name

_ORPHAN: Final = "The folder of the file could not be made: its parent is missing."


@dataclass
class Checked:
    """How the copies of a run were compared with their sources; counts are files."""

    by_checksum: int = 0
    by_size: int = 0
    differing: int = 0
    hash: str | None = None


class FileCopier:
    """Copies files one at a time, for as many callers at once as there are.

    `expected` has what the request says of files by their paths. `unfinished` are copies beside
    their names, which must be removed if the run ends meanwhile.
    """

    def __init__(
        self,
        source: End,
        destination: End,
        copies: ThirdPartyCopies,
        options: Options,
        expected: dict[str, ListedFile],
    ) -> None:
        self._source = source
        self._destination = destination
        self._copies = copies
        self._options = options
        self._expected = expected
        self.unfinished: set[Segments] = set()
        self.checked = Checked()

    async def has_same_checksum(self, path: Segments, to: Segments) -> bool:
        """Whether both storages have one checksum for a file; False if either tells none."""
        ours = await self._source_digest(path, digests.WANTED)
        if ours is None:
            return False
        _, theirs = await self._destination.digest(to, ours.kind)
        return theirs == ours

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
            size = await self.compare(file, path, aside)
            if self._options.overwrite == "never" and await self._destination.look(to):
                await self._remove(aside)
                return FileOutcome(file.path, FileState.SKIPPED, size, reason=Reason.EXISTS)
            overwrite = file.theirs is not None or self._options.overwrite != "never"
            await self._destination.moves.move(aside, to, size, overwrite=overwrite)
        except (CopyFailed, Failed, Refused, NoAnswer):
            await self._remove(aside)
            raise
        self.unfinished.discard(aside)
        return FileOutcome(file.path, FileState.TRANSFERRED, size)

    async def _remove(self, aside: Segments) -> None:
        await self._destination.remove(aside)
        self.unfinished.discard(aside)

    async def _source_digest(self, path: Segments, kinds: str) -> Digest | None:
        try:
            return (await self._source.digest(path, kinds))[1]
        except (Failed, Refused, NoAnswer) as error:
            raise CopyFailed(self._source.failure(error)) from error

    async def compare(self, file: SourceFile, path: Segments, at: Segments) -> int:
        """Compare a file at the destination with its source, and return its size.

        Raises CopyFailed, and what the destination raises.
        """
        expected = self._expected.get(file.path, ListedFile(file.path))
        kinds = digests.WANTED if expected.hash is None else digests.wanted(expected.hash)
        ours: Digest | None = None
        if self._options.verify is not VerifyMode.SIZE or expected.hash is not None:
            if expected.hash is not None and expected.checksum is not None:
                ours = Digest(kinds, expected.checksum.lower())
            else:
                ours = await self._source_digest(path, kinds)
        size, theirs = await self._destination.digest(at, kinds if ours is None else ours.kind)
        wanted = expected.size if expected.size is not None else file.ours.size
        if size is None or (wanted is not None and size != wanted):
            self.checked.differing += 1
            raise _differs(f"{size} bytes have arrived, of {wanted} bytes at the source.")
        if ours is None or theirs is None:
            if self._options.require_checksum or expected.hash is not None:
                raise CopyFailed(_no_checksum(expected.hash))
            self.checked.by_size += 1
        elif ours != theirs:
            self.checked.differing += 1
            raise _differs(
                f"The {ours.hash} of what has arrived is {theirs.value}, that of the source is "
                f"{ours.value}."
            )
        else:
            self.checked.by_checksum += 1
            self.checked.hash = ours.hash
        return size


def _differs(text: str) -> CopyFailed:
    return CopyFailed(Failure("checksum_mismatch", text, retryable=True, side=Side.DESTINATION))


def _no_checksum(hash_: str | None) -> Failure:
    kind = f"{hash_} checksum" if hash_ else "checksum of one kind"
    text = f"The storages tell no {kind} for the file, and the request needs one."
    return Failure("unsupported", text, retryable=False, side=None)
