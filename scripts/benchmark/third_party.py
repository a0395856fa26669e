"""Compares the engines `tpc` and `rclone` between two XRootD servers, in the same run.

XRootD is Debian's, over TLS, with the files in memory where they fit. The traffic is what passed
the machine's loopback device, on which everything is here: a byte that goes from one storage to
the other passes it once, and one that passes through the service at least twice.
`scripts/bench --rows third-party` runs it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from rich.table import Table

from benchmark import report, storages
from benchmark.columns import CopyFailed
from benchmark.meters import measured
from benchmark.rows import GIB, KIB, MIB, QUICK, small
from support import service_process, xrootd
from support.certificates import certificate
from support.service_process import SCRIPTS, Function
from support.traffic import Traffic, counting
from support.xrootd import XRootD

ENGINES: Final = ("rclone", "tpc")
_FILES: Final = 1_000
# XRootD 5.5.3 breaks down now and then, or lets a connection hang, mostly with rclone's many
# uploads at once: such a run is done again.
_TRIES: Final = 3
_STALL_SECONDS: Final = 15
_SITE: Final = {
    "engines": {"tpc": {}},
    "allow": {"hosts": ["localhost"], "networks": ["127.0.0.0/8"]},
}
_SIZES: Final[dict[str, Callable[[int], dict[str, int]]]] = {
    "1,000 files of 1-8 KB": small(_FILES),
    # 2 GiB in all.
    "1,000 files of 1-3 MiB": small(_FILES, MIB, 3 * MIB + 200 * KIB),
}


@dataclass(frozen=True)
class EngineRun:
    """One copy: seconds, the service's CPU seconds, bytes on the wire, and bytes it received."""

    seconds: float
    cpu: float
    wire: int
    received: int


@dataclass(frozen=True)
class ThirdPartyRow:
    """The result of a row. Numbers are medians of all rounds; `ratio` is tpc's time to rclone's.

    `through` is the number of bytes that the service received with `tpc`, as a ratio to the files'.
    """

    title: str
    files: int
    bytes: int
    rounds: int
    columns: dict[str, dict[str, float]]
    ratio: float | None
    through: float | None
    load: list[float]
    failed: str


@dataclass(frozen=True)
class _Site:
    function: Function
    traffic: Traffic
    source: XRootD
    destination: XRootD


def measure(rounds: int, *, quick: bool, tell: Callable[[str], None]) -> Iterator[ThirdPartyRow]:
    """Copy each row with both engines in turn; compare every byte."""
    divisor = QUICK if quick else 1
    for title, sizes in _SIZES.items():
        with _serving(sum(sizes(divisor).values())) as site:
            storages.fill(site.source.data / "files", sizes(divisor))
            site.source.own()
            yield _row(site, title, sizes(divisor), rounds, tell)


def _row(
    site: _Site, title: str, sizes: dict[str, int], rounds: int, tell: Callable[[str], None]
) -> ThirdPartyRow:
    load = os.getloadavg()[0]
    runs: dict[str, list[EngineRun]] = {engine: [] for engine in ENGINES}
    failed = ""
    for number in range(rounds):
        for engine in ENGINES if number % 2 else reversed(ENGINES):
            for attempt in range(1, _TRIES + 1):
                try:
                    runs[engine].append(_run(site, engine, len(sizes)))
                except CopyFailed as error:
                    tell(f"{title}, {engine}: {error}")
                    if attempt == _TRIES:
                        failed = f"{engine}: {error}"
                else:
                    tell(f"{title}, {engine}: {runs[engine][-1].seconds:.2f} s")
                    break
    complete = all(len(own) == rounds for own in runs.values())
    pairs = list(zip(runs["tpc"], runs["rclone"], strict=True)) if complete else []
    size = sum(sizes.values())
    received = [one.received / size for one in runs["tpc"]]
    return ThirdPartyRow(
        title=title if len(sizes) == _FILES else f"{len(sizes)} of {title}",
        files=len(sizes),
        bytes=size,
        rounds=rounds,
        columns={engine: _summary(own, size) for engine, own in runs.items() if own},
        ratio=round(statistics.median(a.seconds / b.seconds for a, b in pairs), 3)
        if pairs
        else None,
        through=round(statistics.median(received), 5) if received else None,
        load=[round(load, 2), round(os.getloadavg()[0], 2)],
        failed=failed,
    )


def _run(site: _Site, engine: str, files: int) -> EngineRun:
    source = site.source.storage().endpoint("files")
    destination = site.destination.storage().endpoint(engine)
    body = {
        "source": source,
        "destination": destination,
        "engine": engine,
        "options": {"attempts": 1},
    }
    root = psutil.Process(site.function.process.pid)
    before, received = _wire(), site.traffic.bytes
    with measured(lambda: [root], memory=False) as usage:
        began = time.perf_counter()
        answer = site.function.post(body, timeout=7200)
        seconds = time.perf_counter() - began
    wire, received = _wire() - before, site.traffic.bytes - received
    copied = site.destination.data / engine
    try:
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


def _wire() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_recv)


def _summary(runs: list[EngineRun], size: int) -> dict[str, float]:
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 3),
        "cpu_seconds": round(statistics.median(run.cpu for run in runs), 2),
        "wire": round(statistics.median(run.wire for run in runs) / size, 3),
    }


@contextmanager
def _serving(size: int) -> Iterator[_Site]:
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
        traffic = running.enter_context(counting(folder / "traffic"))
        variables = [*traffic.variables, f"SSL_CERT_FILE={signed}"]
        command = ("env", *variables, str(SCRIPTS / "functions-framework"))
        served = service_process.function(
            folder / "run", command=command, site=_SITE, STALL_SECONDS=str(_STALL_SECONDS)
        )
        site = _Site(running.enter_context(served), traffic, source, destination)
        _warm_up(site)
        yield site


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
        _run(site, engine, 1)
    shutil.rmtree(site.source.data / "files")


def table(rows: list[dict[str, Any]]) -> Table:
    """The results as a table."""
    shown = Table("copied", *ENGINES, "ratio", "CPU", "on the wire", "through tpc's service")
    for row in rows:
        found = [row["columns"].get(engine) for engine in ENGINES]
        if row["failed"] or None in found:
            shown.add_row(row["title"], row["failed"][:60])
            continue
        shown.add_row(
            f"{row['title']}, {report.megabytes(row['bytes'])}",
            *(report.number(one["seconds"]) for one in found),
            f"{row['ratio']:.2f}",
            " / ".join(report.number(one["cpu_seconds"]) for one in found),
            " / ".join(f"{one['wire']:.2f}" for one in found),
            f"{100 * row['through']:.2f} %",
        )
    return shown
