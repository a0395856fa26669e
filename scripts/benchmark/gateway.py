"""Compares the service with its WebDAV gateway and without it, in the same run.

Two services, one with EFSS_TRANSFER_WEBDAV_GATEWAY=1 and one with 0, copy each row in turn.
`scripts/bench --rows gateway` runs it.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmark import columns, report, storages
from benchmark.columns import Column, Run
from benchmark.cpus import Processors
from benchmark.rows import GIB, NO_GATEWAY, QUICK, SERVICE, Workload, run_rounds, single, small
from efss_transfer.engines.rclone.process.binary import find_binary
from support.receivers import certificates


@dataclass(frozen=True)
class Comparison:
    """What to copy, over TLS or not, and the highest ratios of wall and CPU time to aim for."""

    workload: Workload
    round_trip_ms: int = 0
    tls: bool = False
    wall_aim: float | None = None
    cpu_aim: float | None = None


def _workload(name: str, title: str, sizes: Callable[[int], dict[str, int]], way: str) -> Workload:
    ends = ("webdav", "s3") if way == "down" else ("s3", "webdav")
    return Workload(f"{name}-{way}", title, sizes, *ends)


COMPARISONS: Final = (
    *(
        Comparison(_workload("gib", "1 GiB", single(GIB), way), 0, tls, 1.02, 1.1)
        for tls in (False, True)
        for way in ("down", "up")
    ),
    *(
        # Uploads need fewer requests through the gateway.
        Comparison(
            _workload("small", "2,000 files of 1-8 KB", small(2000), way),
            trip,
            wall_aim=aim if way == "down" else 1.0,
        )
        for trip, aim in ((0, 1.1), (20, 1.02))
        for way in ("down", "up")
    ),
)


@dataclass(frozen=True)
class Row:
    """The results of one comparison; its members are those of the JSON file.

    Seconds are medians. A ratio is the service's with its gateway to that without, the median of
    the ratios in each round.
    """

    row: str
    title: str
    way: str
    tls: bool
    round_trip_ms: int
    files: int
    bytes: int
    rounds: int
    columns: dict[str, dict[str, Any]]
    wall_ratio: float | None
    wall_aim: float | None
    cpu_ratio: float | None
    cpu_aim: float | None
    load: list[float]
    failed: str


def measure(
    rounds: int, *, quick: bool, processors: Processors, tell: Callable[[str], None]
) -> Iterator[Row]:
    """Copy every row with and without the gateway, in every round."""
    divisor = QUICK if quick else 1
    binary = find_binary(None)
    every = [sum(one.workload.sizes(divisor).values()) for one in COMPARISONS]
    with ExitStack() as running:
        folder, _ = running.enter_context(storages.work_folder(sum(every) + 2 * max(every)))
        authority, _ = certificates(folder / "tls", "127.0.0.1")
        for one in COMPARISONS:
            source = folder / one.workload.source_folder
            if not source.exists():
                storages.fill(source, one.workload.sizes(divisor))
        services: dict[str, Column] = {}
        for name in (NO_GATEWAY, SERVICE):
            runtime = folder / name.replace(" ", "-")
            runtime.mkdir()
            function = columns.function(
                runtime,
                None,
                8,
                gateway=name == SERVICE,
                variables=[f"SSL_CERT_FILE={authority}"],
                processors=processors.copiers,
            )
            services[name] = columns.service(running.enter_context(function))
        _warm_up(binary, folder, services)
        for one in COMPARISONS:
            certificate = folder / "tls/server.pem" if one.tls else None
            # New servers for each row: those that have served other rows are slower.
            with storages.local_servers(binary, folder, processors, certificate) as servers:
                yield _compared(one, servers, services, rounds, divisor, processors, tell)


def _compared(
    one: Comparison,
    local: storages.Servers,
    services: Mapping[str, Column],
    rounds: int,
    divisor: int,
    processors: Processors,
    tell: Callable[[str], None],
) -> Row:
    workload = one.workload
    sizes = workload.sizes(divisor)
    load = os.getloadavg()[0]
    label = f"{workload.name}{' over TLS' if one.tls else ''}, {one.round_trip_ms} ms"
    trip = one.round_trip_ms / 1000
    with storages.distant_servers(local, trip, 0.0, processors) as distant:
        runs, failed = run_rounds(
            workload, distant, services, rounds, lambda text: tell(f"{label}, {text}")
        )
    return Row(
        row=workload.name,
        title=workload.title,
        way="WebDAV to S3" if workload.source == "webdav" else "S3 to WebDAV",
        tls=one.tls,
        round_trip_ms=one.round_trip_ms,
        files=len(sizes),
        bytes=sum(sizes.values()),
        rounds=rounds,
        columns={name: _summary(own) for name, own in runs.items() if own},
        wall_ratio=_ratio(runs, lambda run: run.seconds),
        wall_aim=one.wall_aim,
        cpu_ratio=_ratio(runs, lambda run: run.cpu),
        cpu_aim=one.cpu_aim,
        load=[round(load, 2), round(os.getloadavg()[0], 2)],
        failed=failed,
    )


def _warm_up(binary: Path, folder: Path, services: Mapping[str, Column]) -> None:
    storages.fill(folder / "webdav/source/warm", {"file.bin": 4})
    with storages.local_servers(binary, folder) as servers:
        source = servers.endpoint("webdav", "source/warm")
        for name, service in services.items():
            target = f"copies/warm-{name.replace(' ', '-')}"
            service([(source, servers.endpoint("s3", target))], False)


def _summary(runs: list[Run]) -> dict[str, Any]:
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 3),
        "cpu_seconds": round(statistics.median(run.cpu for run in runs), 2),
        "all_seconds": [round(run.seconds, 3) for run in runs],
        "all_cpu_seconds": [round(run.cpu, 2) for run in runs],
        "peak_bytes": max(run.peak for run in runs),
    }


def _ratio(runs: Mapping[str, list[Run]], cost: Callable[[Run], float]) -> float | None:
    """The median of the ratios in each round, if all rounds succeeded."""
    ours, plain = runs[SERVICE], runs[NO_GATEWAY]
    if not ours or len(ours) != len(plain):
        return None
    return round(statistics.median(cost(a) / cost(b) for a, b in zip(ours, plain, strict=True)), 3)


def table(rows: list[dict[str, Any]]) -> Table:
    """The results as a table."""
    shown = Table("copied", "round trip", "without", "with", "ratio", "aim", "CPU", "ratio", "aim")
    for row in rows:
        found = [row["columns"].get(name) for name in (NO_GATEWAY, SERVICE)]
        title = f"{row['title']}, {row['way']}{', TLS' if row['tls'] else ''}"
        if row["failed"] or None in found:
            shown.add_row(title, f"{row['round_trip_ms']} ms", row["failed"][:60])
            continue
        without, with_gateway = found
        shown.add_row(
            title,
            f"{row['round_trip_ms']} ms",
            report.number(without["seconds"]),
            report.number(with_gateway["seconds"]),
            _shown(row["wall_ratio"]),
            _aim(row["wall_aim"]),
            " / ".join(report.number(one["cpu_seconds"]) for one in found),
            _shown(row["cpu_ratio"]),
            _aim(row["cpu_aim"]),
        )
    return shown


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _aim(aim: float | None) -> str:
    return "" if aim is None else f"≤ {aim:.2f}"
