"""Decides whether the checksums that a storage names are those of its files' bytes.

The ETag of an object that was encrypted by KMS looks like an MD5 and is none, and the shell of an
SFTP server may see other files than SFTP does. rclone takes each such file for corrupted and
removes its copy.

A storage is disbelieved only if each of several files that were read has another checksum than the
storage names, and no file of the transfer had the same on both sides. A damaged file beside good
ones, or one alone, stays a failure.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from efss_transfer.engines.rclone.log.mismatches import Mismatch
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.read_checksums import (
    FEWEST,
    ReadChecksums,
    ReadFile,
)
from efss_transfer.engines.rclone.transfer.comparison.samples import Place
from efss_transfer.engines.rclone.transfer.partial_files import Placement
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.rclone.transfer.tuner import Tuner
from efss_transfer.engines.unclean_names import is_unclean
from efss_transfer.model.events import Event
from efss_transfer.model.request import Selection
from efss_transfer.model.result import FileOutcome, FileState, Side

# rclone's option of a source by which it does not use the checksums that are named there, by
# backend. Otherwise it would send them along with an upload, and the destination refuse that.
_WITHOUT_CHECKSUMS: Final = {
    "s3": ',server_side_encryption="aws:kms"',
    "sftp": ",disable_hashcheck=true",
}
# Storages that compute a checksum when they are asked for it, and keep none.
_COMPUTING: Final = frozenset({"sftp"})
_MOST_NAMES: Final = 20
_DAMAGED: Final = (
    "At the source the file has another checksum than the storage names for it, and other files "
    "have not: it is taken for damaged."
)
_ALONE: Final = (
    "At the source the file has another checksum than the storage names for it, and its folder has "
    "no other files by which to see whether the storage names right ones. If it names none that "
    "are right (encryption by KMS, a shell that sees other files), {remedy}."
)
_REMEDIES: Final = {
    "s3": "set `server_side_encryption` of the source to `aws:kms`",
    "sftp": "set `disable_hashcheck` of the source",
}
_REMEDY: Final = "copy it together with other files"
_OTHER_BYTES: Final = "The destination stored other bytes than the source has."


class FalseChecksums:
    """Settles the files whose checksums differ after their copy. Its methods are generators: they
    yield events while they wait.
    """

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        probe: SourceProbe,
        tuner: Tuner,
    ) -> None:
        self._run = run
        self._tuner = tuner
        self._mismatches = run.log.mismatches
        self._read = ReadChecksums(run, jobs, probe)
        self._why = ""
        self._has_stopped = False
        self.disbelieved: Side | None = None
        """The side whose checksums are not those of its files."""

    def should_stop(self) -> bool:
        """Whether so many files differ that the copy is better begun again once that is settled.
        Once it must stop, it stays so: another file may match before it has.
        """
        self._has_stopped = self._has_stopped or self._mismatches.are_enough
        return self._has_stopped

    def without_false(self, source: RemotePath, destination: RemotePath) -> RemotePath:
        """Return the source as rclone reads from it, without checksums that are not believed."""
        is_shared = source.remote.name == destination.remote.name
        if self.disbelieved is not Side.SOURCE or is_shared:
            return source  # Within one storage rclone copies only while the options are the same.
        option = _WITHOUT_CHECKSUMS.get(source.remote.backend, "")
        return replace(source, options=f"{source.options}{option}")

    def settle(
        self, source: RemotePath, destination: RemotePath, single: Placement | None = None
    ) -> Generator[Event, None, bool]:
        """Settle the files whose checksums differ, and return whether to begin their copy again.
        Otherwise they have failed. A `single` file may have another name at the destination.
        """
        was_stopped = self.should_stop()
        self._has_stopped = False
        if not (was_stopped or self._mismatches.paths):
            return False
        self._run.log.end_stopping()
        self._run.outcomes.seal()
        found = self._mismatches.take()
        begins_again = False
        try:
            folder = destination.fs if single is None else single.folder
            places = {
                Place(source.fs, it.path)
                if single is None
                else Place(source.parent, source.name): it
                for it in found
            }
            is_false = bool(found) and (
                yield from self._judge(places, source.remote.backend, folder)
            )
            begins_again = is_false or was_stopped
        finally:
            if not begins_again:
                self._fail(found)
        self._mismatches.settle()
        return begins_again

    def names(self, selection: Selection) -> list[str]:
        """Names of a few files that both sides may have."""
        if selection.files is None:
            return list(self._run.log.sample_names.names)
        names = (file.path for file in selection.files)
        return list(islice((name for name in names if not is_unclean(name)), _MOST_NAMES))

    def look(
        self,
        source: RemotePath,
        destination: RemotePath,
        folders: tuple[str, str],
        names: Sequence[str],
    ) -> Generator[Event, None, None]:
        """Look at a few files that both sides may have, before all are compared by checksum.
        `folders` are the fs of both sides.
        """
        if self.disbelieved is not None or self._mismatches.has_matched or not names:
            return
        with self._run.log.probing():
            backends = source.remote.backend, destination.remote.backend
            computing = backends[0] in _COMPUTING, backends[1] in _COMPUTING
            found = yield from self._read.differing(folders, computing, names)
        if found:
            places = {Place(folders[0], it.path): it for it in found}
            yield from self._judge(places, backends[0], folders[1])

    def give_up(self) -> None:
        """Let the files that are still to be settled fail, because the copy has ended."""
        self._has_stopped = False
        self._fail(self._mismatches.take())

    def _fail(self, found: tuple[Mismatch, ...]) -> None:
        for mismatch in found:
            error = mismatch.failure
            if self._why:
                error = replace(error, message=f"{error.message.rstrip('.')}. {self._why}")
            self._run.outcomes.add(FileOutcome(mismatch.path, FileState.FAILED, error=error))

    def _judge(
        self,
        places: Mapping[Place, Mismatch],
        backend: str,
        folder: str,
    ) -> Generator[Event, None, bool]:
        """Whether a side's checksums are false. `places` are the files at the source, whose
        storage is a `backend`, and `folder` is an fs of the destination.
        """
        self._why = ""
        if self.disbelieved is not None:
            return False
        if self._mismatches.has_matched:
            return False
        with self._run.log.probing():
            files = yield from self._read.of_mismatches(places)
            odd = [file for file in files if file.is_odd]
            if odd:
                if len(odd) == len(files) >= FEWEST:
                    if not (yield from self._arrive(places, odd, folder)):
                        self._why = _OTHER_BYTES
                        return False
                    self._disbelieve(Side.SOURCE, odd)
                    return True
                remedy = _REMEDIES.get(backend, _REMEDY)
                self._why = _DAMAGED if len(files) >= FEWEST else _ALONE.format(remedy=remedy)
                return False
            if len(files) < FEWEST:
                return False
            copies = yield from self._read.of_copies(files, folder)
            if len(copies) == len(files) and all(copy.is_odd for copy in copies):
                self._disbelieve(Side.DESTINATION, copies)
                return True
        self._why = _OTHER_BYTES
        return False

    def _arrive(
        self, places: Mapping[Place, Mismatch], odd: list[ReadFile], folder: str
    ) -> Generator[Event, None, bool]:
        """Whether the destination has the bytes of its copies: by the checksums that it named, or
        for lack of right ones by other copies that are read.
        """
        unlike = [
            file
            for file in odd
            if file.place in places and places[file.place].at_destination not in ("", file.read)
        ]
        copies = (yield from self._read.of_copies(unlike, folder)) if unlike else []
        return len(copies) == len(unlike)

    def _disbelieve(self, side: Side, odd: list[ReadFile]) -> None:
        self.disbelieved = side
        kind, many = odd[0].hash_type, f"for each of {len(odd)} files that were read"
        text = f"The {kind} that the {side.value} names is not that of the file's bytes, {many}."
        if not odd[0].named:
            text = f"The {side.value} cannot compute an {kind}, {many}."
        text += " Copies were checked by their size."
        checks: dict[str, Any] = {"IgnoreChecksum": True}
        if self._tuner.config.get("CheckSum"):
            has_times = not self._tuner.rules.get("CheckSum")
            checks |= {"CheckSum": False} if has_times else {"CheckSum": False, "SizeOnly": True}
            compared = "size and modification time" if has_times else "size alone"
            text += f" Files that the destination had already were compared by {compared}."
        self._tuner.checks = checks
        path = odd[0].place.path if side is Side.SOURCE else ""
        self._run.outcomes.warn("false_checksums", path, text)
