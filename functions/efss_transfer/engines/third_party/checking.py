"""Compares what has arrived with its source, by size and by what both storages compute."""

from __future__ import annotations

from dataclasses import dataclass

from efss_transfer.engines.third_party import digests
from efss_transfer.engines.third_party.digests import Digest
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.third_party.walk import SourceFile
from efss_transfer.model.request import ListedFile, Options
from efss_transfer.model.result import Failure, Side
from efss_transfer.model.verification import Verification, VerifyMode
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused


class CopyFailed(Exception):
    """A copy that failed, with its reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass
class Checked:
    """How the copies of a run were compared with their sources; counts are files."""

    by_checksum: int = 0
    by_size: int = 0
    differing: int = 0
    hash: str | None = None


class FileChecks:
    """The comparisons of one run. `expected` has what the request says of files by their paths."""

    def __init__(
        self, source: End, destination: End, options: Options, expected: dict[str, ListedFile]
    ) -> None:
        self._source = source
        self._destination = destination
        self._options = options
        self._expected = expected
        self.checked = Checked()

    async def has_same_checksum(self, file: SourceFile, path: Segments, to: Segments) -> bool:
        """Whether both storages have one checksum for a file; False if either tells none."""
        ours = await self._source_digest(file, path, digests.WANTED)
        if ours is None:
            return False
        _, theirs = await self._destination.digest(to, ours.kind, file.ours.size)
        return theirs == ours

    async def _source_digest(self, file: SourceFile, path: Segments, kinds: str) -> Digest | None:
        try:
            return (await self._source.digest(path, kinds, file.ours.size))[1]
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
                ours = await self._source_digest(file, path, kinds)
        kind = kinds if ours is None else ours.kind
        size, theirs = await self._destination.digest(at, kind, file.ours.size)
        if size is None and (found := await self._destination.look(at)) is not None:
            size = found.size
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

    def verification(self) -> Verification | None:
        """What the result says of the comparisons; None if the request asks for none."""
        mode, checked = self._options.verify, self.checked
        if mode is VerifyMode.NONE or self._options.dry_run:
            return None
        by_checksum = mode is VerifyMode.CHECKSUM and checked.by_checksum > 0
        return Verification(
            VerifyMode.CHECKSUM if by_checksum else VerifyMode.SIZE,
            checked=checked.by_checksum + checked.by_size + checked.differing,
            differing=checked.differing,
            hash=checked.hash if by_checksum else None,
            by_size=checked.by_size if by_checksum else 0,
        )


def _differs(text: str) -> CopyFailed:
    return CopyFailed(Failure("checksum_mismatch", text, retryable=True, side=Side.DESTINATION))


def _no_checksum(hash_: str | None) -> Failure:
    kind = f"{hash_} checksum" if hash_ else "checksum of one kind"
    text = f"The storages tell no {kind} for the file, and the request needs one."
    return Failure("unsupported", text, retryable=False, side=None)
