"""Compares the engines `tpc`, `fts` and `rclone` between two XRootD servers, in the same run.

XRootD is Debian's, over TLS, with the files in memory where they fit. The traffic is what passed
the machine's loopback device, on which everything is here: a byte that goes from one storage to
the other passes it once, and one that passes through the service at least twice. The FTS server is
the tests' stand-in, which sends a COPY for each file. `scripts/bench --rows third-party` runs it.
"""

from __future__ import annotations

import os
import shutil
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
import requests
from rich.table import Table

from benchmark import report, storages
from benchmark.columns import CopyFailed
from benchmark.meters import measured
from benchmark.rows import GIB, KIB, MIB, QUICK, small
from support import fts_server, service_process, xrootd
from support.certificates import certificate
from support.fts_server import FtsServer
from support.service_process import SCRIPTS, Function
from support.traffic import Traffic, counting
from support.xrootd import XRootD

ENGINES: Final = ("rclone", "tpc", "fts")
_FILES: Final = 1_000
# XRootD 5.5.3 breaks down now and then, or lets a connection hang, mostly with rclone's many
# uploads at once: such a run is done again.
_TRIES: Final = 3
_STALL_SECONDS: Final = 15
# A copy that lasts longer hangs, and is done again in a trial alone.
_LONGEST_SECONDS: Final = 300
_LONGEST_QUICK_SECONDS: Final = 30
_ANSWER_SECONDS: Final = 30
_TOKEN: Final = "token-for-fts"
_SIZES: Final[dict[str, Callable[[int], dict[str, int]]]] = {
    "1,000 files of 1-8 KB": small(_FILES),
    # 2 GiB in all.
    "1,000 files of 1-3 MiB": small(_FILES, MIB, 3 * MIB + 200 * KIB),
}


class _CopyHung(CopyFailed):
    """A copy did not end."""


@dataclass(frozen=True)
class EngineRun:
    """One copy: seconds, the service's CPU seconds, bytes on the wire, and bytes it received."""

    seconds: float
    cpu: float
    wire: int
    received: int


@dataclass(frozen=True)
class ThirdPartyRow:
    """The result of a row. Numbers are medians of all rounds.

    `columns` has for each engine that copied in each round: its seconds and processor time, the
    bytes on the `wire` and those `received` by the service, both as a ratio to the files'. `ratios`
    are the times of the others to rclone's.
    """

    title: str
    files: int
    bytes: int
    rounds: int
    columns: dict[str, dict[str, float]]
    ratios: dict[str, float]
    load: list[float]
    failed: str


@dataclass(frozen=True)
class _Site:
    function: Function
    traffic: Traffic
    fts: FtsServer
    source: XRootD
    destination: XRootD
    is_trial: bool

    @property
    def longest(self) -> int:
        """How many seconds a copy may take."""
        return _LONGEST_QUICK_SECONDS if self.is_trial else _LONGEST_SECONDS


def measure(rounds: int, *, quick: bool, tell: Callable[[str], None]) -> Iterator[ThirdPartyRow]:
    """Copy each row with all engines in turn; compare every byte."""
    divisor = QUICK if quick else 1
    for title, sizes in _SIZES.items():
        with _serving(sum(sizes(divisor).values()), is_trial=quick) as site:
            storages.fill(site.source.data / "files", sizes(divisor))
            site.source.own()
            yield _row(site, title, sizes(divisor), rounds, tell)


def _row(
    site: _Site, title: str, sizes: dict[str, int], rounds: int, tell: Callable[[str], None]
) -> ThirdPartyRow:
    load = os.getloadavg()[0]
    runs: dict[str, list[EngineRun]] = {engine: [] for engine in ENGINES}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for engine in ENGINES if number % 2 else reversed(ENGINES):
            if engine in failed:
                continue
            try:
                runs[engine].append(
                    _tried(site, engine, len(sizes), lambda it: tell(f"{title}, {it}"))
                )
            except CopyFailed as error:
                failed[engine] = f"{engine}: {error}"
    complete = {engine: own for engine, own in runs.items() if engine not in failed}
    size = sum(sizes.values())
    return ThirdPartyRow(
        title=title if len(sizes) == _FILES else f"{len(sizes)} of {title}",
        files=len(sizes),
        bytes=size,
        rounds=rounds,
        columns={engine: _summary(own, size) for engine, own in complete.items()},
        ratios=_ratios(complete),
        load=[round(load, 2), round(os.getloadavg()[0], 2)],
        failed="; ".join(failed[engine] for engine in ENGINES if engine in failed),
    )


def _tried(site: _Site, engine: str, files: int, tell: Callable[[str], None]) -> EngineRun:
    """Copy, and again if the storages broke down. Raises CopyFailed."""
    for attempt in count(1):
        try:
            done = _run(site, engine, files)
            break
        except CopyFailed as error:
            tell(f"{engine}: {error}")
            if attempt == _TRIES or (isinstance(error, _CopyHung) and not site.is_trial):
                raise
    tell(f"{engine}: {done.seconds:.2f} s")
    return done


def _ratios(runs: dict[str, list[EngineRun]]) -> dict[str, float]:
    if (base := runs.get("rclone")) is None:
        return {}
    return {
        engine: round(
            statistics.median(
                one.seconds / other.seconds for one, other in zip(own, base, strict=True)
            ),
            3,
        )
        for engine, own in runs.items()
        if engine != "rclone"
    }


def _run(site: _Site, engine: str, files: int) -> EngineRun:
    source = site.source.storage().endpoint("files")
    destination = site.destination.storage().endpoint(engine)
    body: dict[str, Any] = {
        "source": source,
        "destination": destination,
        "engine": engine,
        "options": {"attempts": 1, "deadline_seconds": site.longest},
    }
    if engine == "fts":
        body["fts"] = {"token": _TOKEN}
        site.fts.reset()  # the jobs of earlier rounds copied the same
        site.fts.admit(_TOKEN)
    root = psutil.Process(site.function.process.pid)
    before, received = _wire(), site.traffic.bytes
    with measured(lambda: [root], memory=False) as usage:
        began = time.perf_counter()
        answer = _answer(site, body)
        seconds = time.perf_counter() - began
    wire, received = _wire() - before, site.traffic.bytes - received
    copied = site.destination.data / engine
    try:
        if answer is None:
            raise _CopyHung(f"had not ended after {site.longest} s")
        if answer.status_code != 200:
            raise CopyFailed(answer.text[:500])
        if answer.json()["totals"]["files"]["transferred"] != files:
            raise CopyFailed(f"not {files} files: {answer.json()['totals']}")
        if not storages.is_identical(site.source.data / "files", copied):
            raise CopyFailed("the copy differs from its source")
    finally:
        storages.remove(copied)
        for server in (site.source, site.destination):
            server.wait_up()
    return EngineRun(seconds, usage.cpu, wire, received)


def _answer(site: _Site, body: dict[str, Any]) -> requests.Response | None:
    """What the service answers; None if the copy was not done in time."""
    try:
        answer = site.function.post(body, timeout=site.longest + _ANSWER_SECONDS)
    except requests.Timeout:
        return None
    return None if answer.status_code == 504 else answer


def _wire() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_recv)


def _summary(runs: list[EngineRun], size: int) -> dict[str, float]:
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 3),
        "cpu_seconds": round(statistics.median(run.cpu for run in runs), 2),
        "wire": round(statistics.median(run.wire for run in runs) / size, 3),
        "received": round(statistics.median(run.received for run in runs) / size, 5),
    }


@contextmanager
def _serving(size: int, *, is_trial: bool) -> Iterator[_Site]:
    with ExitStack() as running:
        folder, _ = running.enter_context(storages.work_folder(2 * size + GIB // 4))
        folder.chmod(0o755)  # XRootD has a user of its own
        for name in ("run", "traffic"):
            (folder / name).mkdir()
        key, signed = folder / "host.key", folder / "host.pem"
        certificate(key, signed)
        running.enter_context(_temporary(folder))
        source = running.enter_context(xrootd.serving(key, signed))
        destination = running.enter_context(xrootd.serving(key, signed))
        tls = ssl.create_default_context(cafile=str(signed))
        fts = running.enter_context(fts_server.serving(tls))
        traffic = running.enter_context(counting(folder / "traffic"))
        variables = [*traffic.variables, f"SSL_CERT_FILE={signed}"]
        command = ("env", *variables, str(SCRIPTS / "functions-framework"))
        served = service_process.function(
            folder / "run",
            command=command,
            site=_site_file(fts),
            STALL_SECONDS=str(_STALL_SECONDS),
        )
        function = running.enter_context(served)
        site = _Site(function, traffic, fts, source, destination, is_trial)
        _warm_up(site)
        yield site


def _site_file(fts: FtsServer) -> dict[str, Any]:
    return {
        "engines": {"tpc": {}, "fts": {"url": fts.url}},
        "allow": {"hosts": ["localhost"], "networks": ["127.0.0.0/8"]},
    }


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Let the servers' folders be in this one."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _warm_up(site: _Site) -> None:
    """Copy one file with each engine, untimed: first requests import modules."""
    storages.fill(site.source.data / "files", {"file.bin": 4})
    site.source.own()
    for engine in ENGINES:
        with suppress(CopyFailed):  # if it fails again, its row says so
            _run(site, engine, 1)
    shutil.rmtree(site.source.data / "files")


def table(rows: list[dict[str, Any]]) -> Table:
    """The results as a table: a line for each engine of a row."""
    shown = Table("copied", "engine", "seconds", "to rclone", "CPU", "on the wire", "received")
    for row in rows:
        title = f"{row['title']}, {report.megabytes(row['bytes'])}"
        for engine, one in row["columns"].items():
            ratio = row["ratios"].get(engine)
            shown.add_row(
                title,
                engine,
                report.number(one["seconds"]),
                "" if ratio is None else f"{ratio:.2f}",
                report.number(one["cpu_seconds"]),
                f"{one['wire']:.2f}",
                f"{100 * one['received']:.2f} %",
            )
        if row["failed"]:
            shown.add_row(title, row["failed"][:80])
    return shown
