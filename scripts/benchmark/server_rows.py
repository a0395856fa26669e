"""The rows of `scripts/bench --server`: up to a named WebDAV server, and down from it."""

from __future__ import annotations

import os
import secrets
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmark import storages
from benchmark.columns import Column, Copy, CopyFailed, Run
from benchmark.named_server import NamedServer
from benchmark.rows import DEFAULTS, EXPERT, GIB, KIB, QUICK, SERVICE, single
from benchmark.server_meters import AccessLog, ServerProcesses
from benchmark.storages import Servers

_FOLDERS: Final = 50
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

    `folder` is the folder on the server, `files` the number of small files.
    """

    server: NamedServer
    folder: str
    local: Servers
    columns: Mapping[str, Column]
    processes: ServerProcesses | None
    log: AccessLog | None
    report: Callable[[str], None]

    def measure(self, row: str, sizes: dict[str, int], rounds: int) -> list[ServerRow]:
        """Copy up and down with each column in turn, in every round; compare every byte."""
        load = os.getloadavg()[0]
        runs: Runs = {way: {name: [] for name in self.columns} for way in ("up", "down")}
        failed: dict[str, dict[str, str]] = {"up": {}, "down": {}}
        names = list(self.columns)
        for number in range(rounds):
            # Rotate who is first: the first column may find cold caches.
            first = number % len(names)
            self._round(row, number, names[first:] + names[:first], runs, failed)
        load_now = round(os.getloadavg()[0], 2)
        title = _TITLES[row].format(len(sizes) if len(sizes) > 1 else sum(sizes.values()) >> 20)
        return [
            ServerRow(
                row=row,
                title=title,
                way=way,
                files=len(sizes),
                bytes=sum(sizes.values()),
                rounds=rounds,
                columns={name: _summary(own) for name, own in runs[way].items() if own},
                ratio=_ratio(runs[way], lambda one: one.run.seconds),
                server_cpu_ratio=_ratio(runs[way], lambda one: one.server_cpu),
                load=[round(load, 2), load_now],
                failed=failed[way],
            )
            for way in ("up", "down")
        ]

    def _round(
        self,
        row: str,
        number: int,
        names: list[str],
        runs: Runs,
        failed: dict[str, dict[str, str]],
    ) -> None:
        source = self._s3(f"source/{row}")
        targets = {name: f"{self.folder}/{secrets.token_hex(8)}" for name in names}
        stored: dict[str, str] = {}
        try:
            for name in names:
                self.report(f"{row}, round {number + 1}, up: {name}")
                try:
                    run = self._run(name, (source, self.server.endpoint(targets[name])))
                except CopyFailed as error:
                    failed["up"][name] = self.server.redacted(str(error))
                else:
                    runs["up"][name].append(run)
                    stored[name] = targets[name]
            for name, uploader in zip(names, names[1:] + names[:1], strict=True):
                if uploader not in stored:
                    failed["down"][name] = f"not measured: the upload by {uploader} failed"
                    continue
                self.report(f"{row}, round {number + 1}, down: {name}")
                try:
                    run, is_same = self._down(name, stored[uploader], source)
                except CopyFailed as error:
                    failed["down"][name] = self.server.redacted(str(error))
                    continue
                runs["down"][name].append(run)
                if not is_same:
                    failed["down"][name] = f"differs from the source, uploaded by {uploader}"
        finally:
            for target in targets.values():
                self.server.remove(target)

    def _s3(self, path: str) -> dict[str, Any]:
        return self.local.endpoint("s3", path)

    def _down(self, name: str, stored: str, source: dict[str, Any]) -> tuple[ServerRun, bool]:
        """Download an upload; the flag says whether it has every byte of the original."""
        target = self._s3(f"copies/{secrets.token_hex(8)}")
        folder = self.local.folder_of(target)
        try:
            run = self._run(name, (self.server.endpoint(stored), target))
            return run, storages.is_identical(self.local.folder_of(source), folder)
        finally:
            storages.remove(folder)

    def _run(self, name: str, copy: Copy) -> ServerRun:
        if self.log is not None:
            self.log.new_requests()
        before = self.processes.settled() if self.processes is not None else 0.0
        run = self.columns[name]([copy], False)
        used = self.processes.settled() - before if self.processes is not None else None
        requests = self.log.new_requests() if self.log is not None else None
        return ServerRun(run, used, requests)


def sizes(row: str, files: int, *, quick: bool) -> dict[str, int]:
    """Size of each file of a row, by its path."""
    if row == "server-large":
        return single(GIB)(QUICK if quick else 1)
    count = max(2, files // QUICK if quick else files)
    return {f"{n % _FOLDERS:02}/{n:05}.dat": 4 * KIB for n in range(count)}


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
