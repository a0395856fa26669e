"""Compares both sides after a copy."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from efss_transfer.engines.rclone.log.check_lines import (
    MISSING,
    CheckCounts,
    difference,
    mismatch,
)
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.events import Event
from efss_transfer.model.request import ListedFile
from efss_transfer.model.result import Failure, Side
from efss_transfer.model.verification import Verification, VerifyMode

HASH_TYPES: Final = ("md5", "sha1", "sha256", "sha512", "blake3", "crc32")
"""The first kind of checksum that both storages offer is compared. If the content must be read, the
first kind of all is computed."""


@dataclass(frozen=True)
class FilePair:
    """A file on both sides: `path` in the fs `source`, and `name` in the fs `destination`.

    Its outcome is reported under `path`. `expected` is what the request says of it.
    """

    path: str
    source: str
    destination: str
    name: str
    expected: ListedFile = field(default_factory=lambda: ListedFile(""))


class Verifier:
    """Compares files, and adds every mismatch to the outcomes. Its methods are generators: they
    yield events while they wait, and return what was really compared, or None if nothing was.
    """

    def __init__(self, run: RunContext, jobs: JobRunner, mode: VerifyMode) -> None:
        self._run = run
        self._jobs = jobs
        self._mode = mode

    def verify_tree(
        self,
        source: RemotePath,
        destination: RemotePath,
        config: Mapping[str, object],
        filters: Mapping[str, object],
    ) -> Generator[Event, None, Verification | None]:
        """Compare every selected file of the source, by one job of rclone's."""
        counts = self._begin()
        job = yield from self._jobs.run(
            "operations/check",
            {
                "srcFs": source.fs,
                "dstFs": destination.fs,
                "oneWay": True,
                "download": self._mode is VerifyMode.DOWNLOAD,
                # The log has every comparison; a list would be as long as the tree.
                **dict.fromkeys(
                    ("match", "differ", "missingOnDst", "missingOnSrc", "error"), False
                ),
                "_config": {**config, "SizeOnly": True} if self._mode is VerifyMode.SIZE else {},
                "_filter": filters,
            },
        )
        if job.error:
            self._run.outcomes.add_final_error(self._run.classify(job.error, None))
            return None
        return _summary(self._mode, str(job.output.get("hashType") or "none"), counts)

    def verify_files(
        self, pairs: list[FilePair], at_once: int
    ) -> Generator[Event, None, Verification | None]:
        """Compare the pairs whose copy has arrived, at most `at_once` at a time, with each other
        and with what the request says of them.
        """
        counts = self._begin()
        arrived = [pair for pair in pairs if self._run.outcomes.has_arrived(pair.path)]
        if not arrived:
            return None
        comparison = _FileComparison(self._run, self._jobs, self._mode, counts, at_once)
        return (yield from comparison.compare(arrived))

    def _begin(self) -> CheckCounts:
        counts = CheckCounts()
        self._run.outcomes.begin_attempt(last=True)
        self._run.log.begin_verification(counts)
        return counts


def _summary(mode: VerifyMode, hash_type: str, counts: CheckCounts) -> Verification:
    checked = counts.equal + counts.differing
    if mode is VerifyMode.CHECKSUM and hash_type == "none":
        return Verification(VerifyMode.SIZE, checked, counts.differing, counts.missing)
    by_checksum = mode is VerifyMode.CHECKSUM
    return Verification(
        mode,
        checked,
        counts.differing,
        counts.missing,
        hash_type if by_checksum else None,
        counts.by_size if by_checksum else 0,
    )


@dataclass
class _FileFacts:
    """The size and the checksums of a file on one side, or why they are unknown."""

    size: int | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    error: str = ""


_Facts = dict[tuple[str, Side], _FileFacts]


class _FileComparison:
    """Compares files one by one."""

    def __init__(
        self,
        run: RunContext,
        jobs: JobRunner,
        mode: VerifyMode,
        counts: CheckCounts,
        at_once: int,
    ) -> None:
        self._run = run
        self._jobs = jobs
        self._mode = mode
        self._counts = counts
        self._at_once = at_once

    def compare(self, pairs: list[FilePair]) -> Generator[Event, None, Verification | None]:
        """Compare the pairs; all sources are in one storage, and so are all destinations."""
        at_source = yield from self._hash_types(pairs[0].source)
        at_destination = yield from self._hash_types(pairs[0].destination)
        common = at_source & at_destination
        hash_type = next((name for name in HASH_TYPES if name in common), "none")
        if self._mode is not VerifyMode.CHECKSUM:
            hash_type = "none"
        facts: _Facts = {}
        yield from self._ask(self._stat_calls(pairs, hash_type, at_destination), facts)
        yield from self._ask(self._download_calls(pairs, facts), facts)
        for pair in pairs:
            self._compare_pair(pair, facts, hash_type)
        if self._mode is VerifyMode.NONE:
            return None  # The files were compared with the request only.
        return _summary(self._mode, hash_type, self._counts)

    def _hash_types(self, fs: str) -> Generator[Event, None, set[str]]:
        job = yield from self._jobs.run("operations/fsinfo", {"fs": fs})
        return set(job.output.get("Hashes") or ())

    def _stat_calls(
        self, pairs: list[FilePair], hash_type: str, at_destination: set[str]
    ) -> Iterator[RcCall]:
        compared = set() if hash_type == "none" else {hash_type}
        for pair in pairs:
            expected = {pair.expected.hash} if pair.expected.hash in at_destination else set()
            sides = [(Side.DESTINATION, pair.destination, pair.name, compared | expected)]
            if self._mode is not VerifyMode.NONE:
                sides.append((Side.SOURCE, pair.source, pair.path, compared))
            for side, fs, name, hash_types in sides:
                opt = {"filesOnly": True, "noMimeType": True, "showHash": bool(hash_types)}
                yield RcCall(
                    (pair.path, side, ""),
                    "operations/stat",
                    {"fs": fs, "remote": name, "opt": opt | {"hashTypes": sorted(hash_types)}},
                )

    def _download_calls(self, pairs: list[FilePair], facts: _Facts) -> Iterator[RcCall]:
        """Calls that read a file: each one in mode `download`, and one whose checksum the request
        gives and the destination lacks, even if it has that kind for other files, or names
        another, which need not be that of the bytes.
        """
        is_download = self._mode is VerifyMode.DOWNLOAD
        for pair in pairs:
            hash_type = pair.expected.hash or HASH_TYPES[0]
            if is_download:
                yield _download_call(pair.path, Side.SOURCE, pair.source, pair.path, hash_type)
            destination = facts[pair.path, Side.DESTINATION]
            has_hash = destination.hashes.get(hash_type) == pair.expected.checksum
            is_there = destination.size is not None
            if is_download or (pair.expected.hash and is_there and not has_hash):
                yield _download_call(
                    pair.path, Side.DESTINATION, pair.destination, pair.name, hash_type
                )

    def _ask(self, calls: Iterator[RcCall], facts: _Facts) -> Generator[Event, None, None]:
        def keep(key: tuple[str, Side, str], job: Job) -> None:
            path, side, hash_type = key
            file = facts.setdefault((path, side), _FileFacts())
            if job.error:
                file.error = job.error
            elif hash_type:
                file.hashes[hash_type] = str(job.output.get("hash", "")).lower()
            elif item := job.output.get("item"):
                file.size = int(item.get("Size", -1))
                file.hashes |= {k: str(v).lower() for k, v in (item.get("Hashes") or {}).items()}

        yield from self._jobs.run_all(calls, self._at_once, keep)

    def _compare_pair(self, pair: FilePair, facts: _Facts, hash_type: str) -> None:
        destination = facts[pair.path, Side.DESTINATION]
        source = facts.get((pair.path, Side.SOURCE))
        for side, file in ((Side.DESTINATION, destination), (Side.SOURCE, source)):
            if file is not None and file.error:
                self._add_mismatch(pair.path, self._run.classify(file.error, side, pair.path))
                return
        if destination.size is None:
            failure = mismatch(Side.DESTINATION, MISSING)
            self._counts.missing += self._add_mismatch(pair.path, failure)
            return
        failure_found = self._difference(pair, source, destination)
        if failure_found is not None:
            self._counts.differing += self._add_mismatch(pair.path, failure_found)
        elif source is not None:
            self._counts.equal += 1
            has_both = source.hashes.get(hash_type) and destination.hashes.get(hash_type)
            if hash_type != "none" and not has_both:
                self._counts.by_size += 1

    def _difference(
        self, pair: FilePair, source: _FileFacts | None, destination: _FileFacts
    ) -> Failure | None:
        expected = pair.expected
        if expected.size not in (None, destination.size):
            sizes = f"{destination.size} bytes at the destination; the request says {expected.size}"
            return mismatch(None, f"The file has {sizes}.")
        if expected.hash and destination.hashes.get(expected.hash) != expected.checksum:
            text = f"At the destination the file's {expected.hash} is not the one in the request."
            return mismatch(None, text)
        if source is None:
            return None
        if source.size != destination.size and -1 not in (source.size, destination.size):
            return difference("sizes")
        for name in source.hashes.keys() & destination.hashes.keys():
            ours, theirs = source.hashes[name], destination.hashes[name]
            if ours and theirs and ours != theirs:
                return difference("content" if self._mode is VerifyMode.DOWNLOAD else name)
        return None

    def _add_mismatch(self, path: str, failure: Failure) -> bool:
        return self._run.outcomes.add_mismatch(path, failure)


def _download_call(path: str, side: Side, fs: str, name: str, hash_type: str) -> RcCall:
    parameters: dict[str, Any] = {"fs": fs, "remote": name, "hashType": hash_type}
    return RcCall(
        (path, side, hash_type), "operations/hashsumfile", {**parameters, "download": True}
    )
