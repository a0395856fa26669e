"""The rows of `scripts/bench --server`: up to a named WebDAV server, and down from it.

Small files are also copied up a second time, and every second file of each folder down.
"""

from __future__ import annotations

import os
import secrets
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from benchmark import storages
from benchmark.columns import Column, Copy, CopyFailed, Run
from benchmark.named_server import NamedServer
from benchmark.rows import DEFAULTS, EXPERT, GIB, KIB, QUICK, SERVICE, single
from benchmark.server_meters import AccessLog, ServerProcesses
from benchmark.storages import Servers

_FOLDERS: Final = 50
SECOND: Final = "a second time"
HALF: Final = "every second file down"
EVERY_SECOND: Final = "*[0-4]?.dat"
"""Glob of every second small file of each folder."""
_TITLES: Final = {"server-small": "{} files of 4 KB", "server-large": "one file of {} MiB"}


@dataclass(frozen=True)
class ServerRun:
    """One copy, and what it cost the server; None if that is not measured."""

    run: Run
    server_cpu: float | None
    requests: dict[str, int] | None


Runs = dict[str, dict[str, list[ServerRun]]]
"""The runs of each column, by direction."""


@dataclass(frozen=True)
class ServerRow:
    """The results of one row in one direction; its members are those of the JSON file.

    Seconds are medians. `ratio` is the service's time to that of the better rclone, the median of
    the ratios in each round. `failed` has the last error of each column that failed.
    """

    row: str
    title: str
    way: str
    files: int
    bytes: int
    rounds: int
    columns: dict[str, dict[str, Any]]
    ratio: float | None
    server_cpu_ratio: float | None
    load: list[float]
    failed: dict[str, str]


@dataclass(frozen=True)
class Bench:
    """What all rows share: the storages, the columns and the meters.

    `folder` is the folder on the server. `halves` are the columns that copy every second file.
    """

    server: NamedServer
    folder: str
    local: Servers
    columns: Mapping[str, Column]
    processes: ServerProcesses | None
    log: AccessLog | None
    report: Callable[[str], None]
    halves: Mapping[str, Column] = field(default_factory=dict)

    def measure(self, row: str, sizes: dict[str, int], rounds: int) -> list[ServerRow]:
        """Copy up and down with each column in turn, in every round; compare every byte."""
        load = os.getloadavg()[0]
        ways = ("up", SECOND, "down", HALF) if self.halves and len(sizes) > 1 else ("up", "down")
        runs: Runs = {way: {name: [] for name in self.columns} for way in ways}
        failed: dict[str, dict[str, str]] = {way: {} for way in ways}
        names = list(self.columns)
        for number in range(rounds):
            # Rotate who is first: the first column may find cold caches.
            first = number % len(names)
            self._round(f"{row}, round {number + 1}", names[first:] + names[:first], runs, failed)
        load_now = round(os.getloadavg()[0], 2)
        title = _TITLES[row].format(len(sizes) if len(sizes) > 1 else sum(sizes.values()) >> 20)
        return [
            ServerRow(
                row=row,
                title=title,
                way=way,
                files=len(_copied(sizes, way)),
                bytes=sum(_copied(sizes, way).values()),
                rounds=rounds,
                columns={name: _summary(own) for name, own in runs[way].items() if own},
                ratio=_ratio(runs[way], lambda one: one.run.seconds),
                server_cpu_ratio=_ratio(runs[way], lambda one: one.server_cpu),
                load=[round(load, 2), load_now],
                failed=failed[way],
            )
            for way in ways
        ]

    def _round(
        self, title: str, names: list[str], runs: Runs, failed: dict[str, dict[str, str]]
    ) -> None:
        source = self._s3(f"source/{title.partition(',')[0]}")
        targets = {name: f"{self.folder}/{secrets.token_hex(8)}" for name in names}
        stored: dict[str, str] = {}
        try:
            for name in names:
                self.report(f"{title}, up: {name}")
                try:
                    run = self._run(name, (source, self.server.endpoint(targets[name])))
                except CopyFailed as error:
                    failed["up"][name] = self.server.redacted(str(error))
                else:
                    runs["up"][name].append(run)
                    stored[name] = targets[name]
            for name in stored if SECOND in runs else ():
                self.report(f"{title}, {SECOND}: {name}")
                self._again(name, (source, self.server.endpoint(stored[name])), runs, failed)
            for way in ("down", HALF):
                for name, uploader in zip(names, names[1:] + names[:1], strict=True):
                    if way in runs:
                        self.report(f"{title}, {way}: {name}")
                        kept = stored.get(uploader)
                        self._kept(way, name, uploader, kept, source, runs, failed)
        finally:
            for target in targets.values():
                self.server.remove(target)

    def _again(self, name: str, copy: Copy, runs: Runs, failed: dict[str, dict[str, str]]) -> None:
        """Copy up what is there already: nothing must be transferred."""
        try:
            run = self._run(name, copy)
        except CopyFailed as error:
            failed[SECOND][name] = self.server.redacted(str(error))
            return
        runs[SECOND][name].append(run)
        if run.run.transferred:
            failed[SECOND][name] = f"transferred {run.run.transferred} files"

    def _kept(
        self,
        way: str,
        name: str,
        uploader: str,
        stored: str | None,
        source: dict[str, Any],
        runs: Runs,
        failed: dict[str, dict[str, str]],
    ) -> None:
        """Download an upload, and note the result."""
        if stored is None:
            failed[way][name] = f"not measured: the upload by {uploader} failed"
            return
        try:
            run, is_same = self._down(way, name, stored, source)
        except CopyFailed as error:
            failed[way][name] = self.server.redacted(str(error))
            return
        runs[way][name].append(run)
        if not is_same:
            failed[way][name] = f"differs from the source, uploaded by {uploader}"

    def _s3(self, path: str) -> dict[str, Any]:
        return self.local.endpoint("s3", path)

    def _down(
        self, way: str, name: str, stored: str, source: dict[str, Any]
    ) -> tuple[ServerRun, bool]:
        """Download an upload; the flag says whether it has every byte of the original."""
        target = self._s3(f"copies/{secrets.token_hex(8)}")
        folder = self.local.folder_of(target)
        try:
            run = self._run(name, (self.server.endpoint(stored), target), halves=way == HALF)
            original = self.local.folder_of(source)
            if way == HALF:
                original = original.with_name(f"{original.name}-half")
            return run, storages.is_identical(original, folder)
        finally:
            storages.remove(folder)

    def _run(self, name: str, copy: Copy, *, halves: bool = False) -> ServerRun:
        if self.log is not None:
            self.log.new_requests()
        before = self.processes.settled() if self.processes is not None else 0.0
        run = (self.halves if halves else self.columns)[name]([copy], False)
        used = self.processes.settled() - before if self.processes is not None else None
        requests = self.log.new_requests() if self.log is not None else None
        return ServerRun(run, used, requests)


def sizes(row: str, files: int, *, quick: bool) -> dict[str, int]:
    """Size of each file of a row, by its path."""
    if row == "server-large":
        return single(GIB)(QUICK if quick else 1)
    count = max(2, files // QUICK if quick else files)
    return {f"{n % _FOLDERS:02}/{n:05}.dat": 4 * KIB for n in range(count)}


def _copied(sizes: dict[str, int], way: str) -> dict[str, int]:
    return every_second(sizes) if way == HALF else sizes


def every_second(sizes: dict[str, int]) -> dict[str, int]:
    """The files that match `EVERY_SECOND`."""
    return {path: size for path, size in sizes.items() if fnmatch(path, f"*/{EVERY_SECOND}")}


def fill(folder: Path, row: str, files: dict[str, int]) -> None:
    """Write the source of a row, and what a copy of every second file must be."""
    storages.fill(folder / row, files)
    for path in every_second(files):
        half = folder / f"{row}-half" / path
        half.parent.mkdir(parents=True, exist_ok=True)
        half.hardlink_to(folder / row / path)


def space(rows: list[str], files: int, *, quick: bool) -> int:
    """Bytes that the local files of these rows need: the sources, and one copy."""
    every = [sum(sizes(row, files, quick=quick).values()) for row in rows]
    return sum(every) + max(every)


def as_rclone(server: NamedServer, binary: Path, vendor: str, column: Column) -> Column:
    """A column of rclone's command, which needs the password as its configuration has it."""
    hidden = server.obscured(binary)

    def changed(endpoint: dict[str, Any]) -> dict[str, Any]:
        if endpoint["type"] != "webdav":
            return endpoint
        parameters = endpoint["parameters"] | {"vendor": vendor}
        if hidden:
            parameters["pass"] = hidden
        return endpoint | {"parameters": parameters}

    def run(copies: Any, memory: bool) -> Run:
        return column([(changed(source), changed(end)) for source, end in copies], memory)

    return run


def _summary(runs: list[ServerRun]) -> dict[str, Any]:
    used = [one.server_cpu for one in runs if one.server_cpu is not None]
    return {
        "seconds": round(statistics.median(one.run.seconds for one in runs), 3),
        "all_seconds": [round(one.run.seconds, 3) for one in runs],
        "cpu_seconds": round(statistics.median(one.run.cpu for one in runs), 2),
        "server_cpu_seconds": round(statistics.median(used), 2) if used else None,
        "all_server_cpu_seconds": [round(seconds, 2) for seconds in used],
        "attempts": [one.run.attempts for one in runs],
        "warnings": sorted({warning for one in runs for warning in one.run.warnings}),
        "requests": [one.requests for one in runs if one.requests is not None],
        "tuning": runs[-1].run.tuning,
    }


def _ratio(
    runs: Mapping[str, list[ServerRun]], cost: Callable[[ServerRun], float | None]
) -> float | None:
    """The median ratio of the service to the better rclone, if all of their runs succeeded."""
    ours = [cost(one) for one in runs.get(SERVICE, [])]
    every = [[cost(one) for one in runs.get(name, [])] for name in (DEFAULTS, EXPERT)]
    plain = [own for own in every if len(own) == len(ours) and all(own)]
    if not plain or not ours or not all(ours):
        return None
    better = min(plain, key=lambda own: statistics.median(float(one or 0) for one in own))
    return round(
        statistics.median(float(a or 0) / float(b or 1) for a, b in zip(ours, better, strict=True)),
        3,
    )
