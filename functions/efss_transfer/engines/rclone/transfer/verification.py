"""Comparing both sides after a copy."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.parser import CheckedPair, LogParser, mismatch
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, RcCall
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.events import Event
from efss_transfer.model.request import ListedFile
from efss_transfer.model.result import Failure, Side, Verification, VerifyMode

# Of the kinds that both storages have the first of these is compared; what is read anew is
# read for the first.
_KINDS: Final = ("md5", "sha1", "sha256", "sha512", "blake3", "crc32")


@dataclass(frozen=True)
class Pair:
    """A file at both sides: where it is, by folder and path in it, and what its caller knows
    of it. `path` is how it is told.
    """

    path: str
    source: str
    destination: str
    name: str
    known: ListedFile = field(default_factory=lambda: ListedFile(""))


def verify(
    bench: JobRunner,
    record: LogParser,
    cleaner: Redactor,
    mode: VerifyMode,
    pairs: list[Pair] | None,
    *,
    at_once: int,
    **tree: Any,
) -> Generator[Event, None, Verification | None]:
    """Compare the files of two trees, or of pairs; what differs is told to the record.

    The result says what was really compared; None if it could not be.
    """
    checked = CheckedPair()
    record.verify(checked)
    if pairs is not None:
        arrived = [pair for pair in pairs if record.arrived(pair.path)]
        return (yield from _Pairs(bench, record, cleaner, mode, at_once, checked).verify(arrived))
    config = {**tree.pop("_config"), "SizeOnly": True} if mode is VerifyMode.SIZE else {}
    work = yield from bench.done(
        "operations/check",
        oneWay=True,
        download=mode is VerifyMode.DOWNLOAD,
        # What they find is in the log; as lists they would be as long as the tree.
        **dict.fromkeys(("match", "differ", "missingOnDst", "missingOnSrc", "error"), False),
        **{**tree, "_config": config},
    )
    if work.error:
        record.fail(classify(work.error, None, cleaner))
        return None
    kind = str(work.output.get("hashType") or "none")
    return _summary(mode, kind, checked)


def _summary(mode: VerifyMode, kind: str, checked: CheckedPair) -> Verification:
    total = checked.equal + checked.differing
    if mode is VerifyMode.CHECKSUM and kind == "none":
        return Verification(VerifyMode.SIZE, total, checked.differing, checked.missing)
    by_sum = mode is VerifyMode.CHECKSUM
    return Verification(
        mode,
        total,
        checked.differing,
        checked.missing,
        kind if by_sum else None,
        checked.by_size if by_sum else 0,
    )


@dataclass
class _Facts:
    """What is known of a file at one side."""

    size: int | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    error: str = ""


class _Pairs:
    """Compares files one by one, by their names."""

    def __init__(
        self,
        bench: JobRunner,
        record: LogParser,
        cleaner: Redactor,
        mode: VerifyMode,
        at_once: int,
        checked: CheckedPair,
    ) -> None:
        self._bench = bench
        self._record = record
        self._cleaner = cleaner
        self._mode = mode
        self._at_once = at_once
        self._checked = checked

    def verify(self, pairs: list[Pair]) -> Generator[Event, None, Verification | None]:
        """Compare, by what both sides have and what the caller knows."""
        if not pairs:
            return None
        source_kinds = yield from self._kinds(pairs[0].source)
        there_kinds = yield from self._kinds(pairs[0].destination)
        kind = next((kind for kind in _KINDS if kind in source_kinds & there_kinds), "none")
        if self._mode is not VerifyMode.CHECKSUM:
            kind = "none"
        facts: dict[tuple[str, Side], _Facts] = {}
        yield from self._ask(self._stats(pairs, kind, there_kinds), facts)
        yield from self._ask(self._downloads(pairs, facts), facts)
        for pair in pairs:
            self._compare(pair, facts, kind)
        if self._mode is VerifyMode.NONE:
            return None  # only what the caller knew was held against what arrived
        return _summary(self._mode, kind, self._checked)

    def _kinds(self, fs: str) -> Generator[Event, None, set[str]]:
        work = yield from self._bench.done("operations/fsinfo", fs=fs)
        return set(work.output.get("Hashes") or ())

    def _stats(self, pairs: list[Pair], kind: str, there: set[str]) -> Iterator[RcCall]:
        wanted = set() if kind == "none" else {kind}
        for pair in pairs:
            known = {pair.known.hash} if pair.known.hash in there else set()
            places = [(Side.DESTINATION, pair.destination, pair.name, wanted | known)]
            if self._mode is not VerifyMode.NONE:
                name = pair.path
                places.append((Side.SOURCE, pair.source, name, wanted))
            for side, fs, name, kinds in places:
                opt = {"filesOnly": True, "noMimeType": True, "showHash": bool(kinds)}
                yield RcCall(
                    (pair.path, side, ""),
                    "operations/stat",
                    {"fs": fs, "remote": name, "opt": opt | {"hashTypes": sorted(kinds)}},
                )

    def _downloads(
        self, pairs: list[Pair], facts: dict[tuple[str, Side], _Facts]
    ) -> Iterator[RcCall]:
        """What must be read: all, if that was asked for, and whatever the destination has no
        checksum of, though it may have that kind of others.
        """
        whole = self._mode is VerifyMode.DOWNLOAD
        for pair in pairs:
            kind = pair.known.hash or _KINDS[0]
            if whole:
                yield self._download(pair.path, Side.SOURCE, pair.source, pair.path, kind)
            there = facts[pair.path, Side.DESTINATION]
            unknown = there.size is not None and not there.hashes.get(kind)
            if whole or (pair.known.hash and unknown):
                yield self._download(pair.path, Side.DESTINATION, pair.destination, pair.name, kind)

    def _download(self, path: str, side: Side, fs: str, name: str, kind: str) -> RcCall:
        return RcCall(
            (path, side, kind),
            "operations/hashsumfile",
            {"fs": fs, "remote": name, "hashType": kind, "download": True},
        )

    def _ask(
        self, calls: Iterator[RcCall], facts: dict[tuple[str, Side], _Facts]
    ) -> Generator[Event, None, None]:
        def take(key: tuple[str, Side, str], work: Job) -> None:
            path, side, kind = key
            known = facts.setdefault((path, side), _Facts())
            if work.error:
                known.error = work.error
            elif kind:
                known.hashes[kind] = str(work.output.get("hash", "")).lower()
            elif item := work.output.get("item"):
                known.size = int(item.get("Size", -1))
                known.hashes |= {k: str(v).lower() for k, v in (item.get("Hashes") or {}).items()}

        yield from self._bench.all_done(calls, self._at_once, take)

    def _compare(self, pair: Pair, facts: dict[tuple[str, Side], _Facts], kind: str) -> None:
        there = facts[pair.path, Side.DESTINATION]
        here = facts.get((pair.path, Side.SOURCE))
        for side, known in ((Side.DESTINATION, there), (Side.SOURCE, here)):
            if known is not None and known.error:
                self._tell(pair.path, classify(known.error, side, self._cleaner))
                return
        if there.size is None:
            failure = mismatch(Side.DESTINATION, "It is not at the destination.")
            self._checked.missing += self._tell(pair.path, failure)
            return
        wrong = self._difference(pair, here, there)
        if wrong is not None:
            self._checked.differing += self._tell(pair.path, mismatch(None, wrong))
        elif here is not None:
            self._checked.equal += 1
            if kind != "none" and not (here.hashes.get(kind) and there.hashes.get(kind)):
                self._checked.by_size += 1

    def _difference(self, pair: Pair, here: _Facts | None, there: _Facts) -> str | None:
        if pair.known.size not in (None, there.size):
            return f"It has {there.size} bytes; the request says {pair.known.size}."
        if pair.known.hash and there.hashes.get(pair.known.hash) != pair.known.checksum:
            return f"Its {pair.known.hash} is not the one in the request."
        if here is None:
            return None
        if here.size != there.size and -1 not in (here.size, there.size):
            return "After the copy the two sides differ (sizes)."
        for name in here.hashes.keys() & there.hashes.keys():
            if here.hashes[name] and there.hashes[name] and here.hashes[name] != there.hashes[name]:
                what = "content" if self._mode is VerifyMode.DOWNLOAD else name
                return f"After the copy the two sides differ ({what})."
        return None

    def _tell(self, path: str, failure: Failure) -> bool:
        return self._record.differs(path, failure)
