"""Reads a few files to see whether the checksums that storages name for them are theirs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from efss_transfer.engines.rclone.log.check_lines import difference
from efss_transfer.engines.rclone.log.mismatches import Mismatch
from efss_transfer.engines.rclone.rc.client import Job, RcError
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.comparison.samples import Place
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.rclone.transfer.verification import HASH_TYPES
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event
from efss_transfer.webdav.writes.names import partial_name

FEWEST: Final = 2
"""Minimum number of files to read: a single file with another checksum may itself be damaged."""
_MOST: Final = 3
_MOST_LOOKED_AT: Final = 8
_LIST_SECONDS: Final = 10.0
_DELETE_SECONDS: Final = 5.0
_NAMES_AND_SIZES: Final = {"filesOnly": True, "noModTime": True, "noMimeType": True}


@dataclass(frozen=True)
class ReadFile:
    """A file that was read: the checksum that its storage names, which is empty if it computes
    none, and that of its bytes.
    """

    place: Place
    hash_type: str
    named: str
    read: str
    size: int

    @property
    def is_odd(self) -> bool:
        """Whether the storage names another checksum."""
        return self.read != self.named


class ReadChecksums:
    """Reads samples. Its methods are generators: they yield events while they wait. A file that
    cannot be read is left out.
    """

    def __init__(self, run: RunContext, jobs: JobRunner, probe: SourceProbe) -> None:
        self._run = run
        self._jobs = jobs
        self._probe = probe

    def differing(
        self, folders: tuple[str, str], computing: tuple[bool, bool], names: Sequence[str]
    ) -> Generator[Event, None, list[Mismatch]]:
        """Files of two folders with the same size and other checksums; none if any has the same.

        A file without a checksum is one of them only if its side is `computing` what it names.
        """
        kinds: list[set[str]] = []
        for fs in folders:
            job = yield from self._jobs.run("operations/fsinfo", {"fs": fs})
            kinds.append(set(job.output.get("Hashes") or ()))
        hash_type = next((it for it in HASH_TYPES if it in kinds[0] & kinds[1]), None)
        if hash_type is None:
            return []
        pairs = {name: tuple(Place(fs, name) for fs in folders) for name in names[:_MOST]}
        files = yield from self._named((it for pair in pairs.values() for it in pair), hash_type)
        found: list[Mismatch] = []
        for name, pair in pairs.items():
            (size, ours), (other_size, theirs) = (files.get(it, (-1, "")) for it in pair)
            has_both = (ours or computing[0]) and (theirs or computing[1])
            if size == other_size > 0 and has_both:
                if ours == theirs:
                    return []
                found.append(Mismatch(name, hash_type, ours, theirs, difference(hash_type)))
        return found

    def of_mismatches(
        self, places: Mapping[Place, Mismatch]
    ) -> Generator[Event, None, list[ReadFile]]:
        """Read some of the files whose checksums differ, at the source, and if they are few other
        files of their folder as well.
        """
        looked_at = list(places.items())[:_MOST_LOOKED_AT]
        hash_type = looked_at[0][1].hash_type
        known = {place: it.at_source for place, it in looked_at if it.hash_type == hash_type}
        if len(known) < _MOST:
            more = yield from self._neighbours(looked_at[0][0], known)
            known |= dict.fromkeys(more[: _MOST - len(known)], "")
        return (yield from self.read(known, hash_type))

    def read(
        self, known: Mapping[Place, str], hash_type: str
    ) -> Generator[Event, None, list[ReadFile]]:
        """Read the smallest of some files, of which some checksums are known. Files without a
        checksum are read only if none has one.
        """
        found = yield from self._named(known, hash_type)
        sizes = {place: size for place, (size, _) in found.items()}
        named = {
            place: known[place].lower() or found[place][1]
            for place in sorted(sizes, key=lambda it: sizes[it])
            if sizes[place] > 0
        }
        chosen = ([place for place, checksum in named.items() if checksum] or list(named))[:_MOST]
        read = yield from self.contents(chosen, hash_type)
        return [
            ReadFile(place, hash_type, named[place], checksum, sizes[place])
            for place, checksum in read.items()
        ]

    def _named(
        self, places: Iterable[Place], hash_type: str
    ) -> Generator[Event, None, dict[Place, tuple[int, str]]]:
        """The sizes of files, and the checksums that their storages name."""
        opt = {**_NAMES_AND_SIZES, "showHash": True, "hashTypes": [hash_type]}
        stats = yield from self._ask(
            RcCall(place, "operations/stat", {**place.parameters, "opt": opt}) for place in places
        )
        items = {place: job.output.get("item") or {} for place, job in stats.items()}
        return {
            place: (
                int(item.get("Size", -1)),
                str((item.get("Hashes") or {}).get(hash_type, "")).lower(),
            )
            for place, item in items.items()
        }

    def contents(
        self, places: Iterable[Place], hash_type: str
    ) -> Generator[Event, None, dict[Place, str]]:
        """The checksums of files' bytes, which are read."""
        done = yield from self._ask(
            RcCall(
                place,
                "operations/hashsumfile",
                {**place.parameters, "hashType": hash_type, "download": True},
            )
            for place in places
        )
        read = {place: str(job.output.get("hash", "")).lower() for place, job in done.items()}
        return {place: checksum for place, checksum in read.items() if checksum}

    def of_copies(
        self, files: list[ReadFile], folder: str
    ) -> Generator[Event, None, list[ReadFile]]:
        """Copy files to temporary names in a folder of the destination, an fs, without comparing
        their checksums; read the copies, and remove them. Copies with other bytes are left out.
        """
        copies = {Place(folder, partial_name()): it for it in files}
        hash_type = files[0].hash_type
        try:
            yield from self._ask(
                RcCall(
                    copy, "operations/copyfile", file.place.copying_to(copy, IgnoreChecksum=True)
                )
                for copy, file in copies.items()
            )
            read = yield from self.read(dict.fromkeys(copies, ""), hash_type)
        finally:
            with suppress(EngineError, RcError):
                self._remove(copies)
        return [file for file in read if file.read == copies[file.place].read]

    def _remove(self, copies: Iterable[Place]) -> None:
        start = self._run.rc.start_probe
        jobs = [start("operations/deletefile", copy.parameters) for copy in copies]
        until = time.monotonic() + _DELETE_SECONDS
        for job in jobs:
            job.wait(max(0.0, until - time.monotonic()))

    def _neighbours(
        self, place: Place, known: Iterable[Place]
    ) -> Generator[Event, None, list[Place]]:
        """The other files of a file's folder, the smallest first."""
        folder = place.path.rpartition("/")[0]
        listing = {"fs": place.fs, "remote": folder, "opt": _NAMES_AND_SIZES}
        until = time.monotonic() + _LIST_SECONDS
        job = yield from self._probe.run_job("operations/list", listing, until)
        items = job.output.get("list") or () if job is not None else ()
        sized = sorted((int(it.get("Size", -1)), str(it["Path"])) for it in items)
        others = [Place(place.fs, path) for size, path in sized if size > 0]
        return [other for other in others if other not in known]

    def _ask(self, calls: Iterable[RcCall]) -> Generator[Event, None, dict[Place, Job]]:
        """The jobs without an error, by the files that they are about."""
        done: dict[Place, Job] = {}

        def keep(place: Place, job: Job) -> None:
            if not job.error:
                done[place] = job

        yield from self._jobs.run_all(calls, _MOST, keep)
        return done
