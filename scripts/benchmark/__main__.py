"""Compare the service with rclone in the same run, as ratios to `rclone copy`.

Each row is copied by `rclone copy` with its defaults, by `rclone copy` with the flags of an
expert, by a bare `rclone rcd` over HTTP, and by this service. They alternate, so that a machine
that becomes slower does so for all. The servers are rclone's own, on this machine, behind a
simulated network with the row's round trip. Ratios show what the service gains or costs on any
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

# `python scripts/benchmark` puts only this folder on the path.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmark import (
    arguments,
    cold_start,
    gateway,
    report,
    server_run,
    stand_in,
    storages,
    third_party,
)
from benchmark import columns as benchmark_columns
from benchmark import listing as benchmark_listing
from benchmark import rows as benchmark_rows
from benchmark import shards as benchmark_shards
from benchmark import urls as benchmark_urls
from benchmark.cpus import SHARED, Processors
from benchmark.rows import DAEMON, DEFAULTS, EXPERT, SERVICE, WORKLOADS
from efss_transfer.engines.rclone.process.binary import find_binary

_STANDBY_BOOT_SECONDS: Final = 1.0
_STDERR: Final = Console(stderr=True)


def tell(text: str) -> None:
    """Say what is measured now."""
    _STDERR.print(f"{datetime.now(UTC):%H:%M:%S} {text}")


def machine() -> dict[str, Any]:
    """The machine of this run."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "processor": processor,
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the chosen rows; returns the document that `--json` prints."""
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    trips = [int(trip) for trip in chosen.round_trips.split(",")]
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "expert": list(benchmark_columns.EXPERT),
        "rows": [],
    }
    if chosen.server:
        found["server"] = server_run.described(chosen)
        for measured in server_run.measure(chosen, rounds, tell):
            found["server"]["rows"].append(asdict(measured))
            save(found, chosen.save)
        return found
    rows = [workload for workload in WORKLOADS if workload.name in chosen.rows]
    for row in _rows(rows, trips, rounds, chosen) if rows else ():
        found["rows"].append(asdict(row))
        save(found, chosen.save)
    if "gateway" in chosen.rows:
        found["gateway"] = []
        processors = Processors.apart() if chosen.apart else SHARED
        compared = gateway.measure(rounds, quick=chosen.quick, processors=processors, tell=tell)
        for comparison in compared:
            found["gateway"].append(asdict(comparison))
            save(found, chosen.save)
    if "nextcloud" in chosen.rows:
        found["nextcloud"] = []
        for measured_row in stand_in.measure(chosen, trips, rounds, tell):
            found["nextcloud"].append(measured_row)
            save(found, chosen.save)
    if "third-party" in chosen.rows:
        found["third_party"] = []
        for compared_engines in third_party.measure(rounds, quick=chosen.quick, tell=tell):
            found["third_party"].append(asdict(compared_engines))
            save(found, chosen.save)
    if "shards" in chosen.rows:
        found["shards"] = asdict(benchmark_shards.measure(rounds))
    if "listing" in chosen.rows:
        files = benchmark_listing.FILES // (benchmark_rows.QUICK if chosen.quick else 1)
        found["listing"] = asdict(benchmark_listing.measure(rounds, files))
    if "urls" in chosen.rows:
        files = benchmark_urls.FILES // (benchmark_rows.QUICK if chosen.quick else 1)
        found["urls"] = asdict(benchmark_urls.measure(rounds, files))
    if "cold" in chosen.rows:
        found["cold"] = asdict(cold_start.measure(rounds))
    save(found, chosen.save)
    return found


def save(found: dict[str, Any], file: Path | None) -> None:
    """Write the results to a file, replacing its earlier results of the same rows."""
    if file is None:
        return
    kept = json.loads(file.read_text("utf-8")) if file.exists() else {"rows": []}
    rows = {sort_key(row): row for row in [*kept["rows"], *found["rows"]]}
    document = kept | found | {"rows": [rows[key] for key in sorted(rows)]}
    file.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def sort_key(row: dict[str, Any]) -> tuple[int, bool, int, int]:
    """The position of a row in the file; unique for a row."""
    order = [workload.name for workload in WORKLOADS]
    return row["memory_bound"] or 0, row["apart"], order.index(row["row"]), row["round_trip_ms"]


def _rows(
    rows: list[benchmark_rows.Workload], trips: list[int], rounds: int, chosen: argparse.Namespace
) -> Iterator[benchmark_rows.MeasuredRow]:
    binary = find_binary(None)
    processors = Processors.apart() if chosen.apart else SHARED
    divisor = benchmark_rows.QUICK if chosen.quick else 1
    most = max(workload.copies for workload in rows)
    # Space for the sources of all rows, and for the copies of one round.
    sizes = [(sum(row.sizes(divisor).values()), row.copies) for row in rows]
    space = sum(size for size, _ in sizes) + 2 * max(size * copies for size, copies in sizes)
    with ExitStack() as running:
        folder, medium = running.enter_context(storages.work_folder(space))
        for workload in rows:  # before the servers cache their listings
            storages.fill(folder / workload.source_folder, workload.sizes(divisor))
        services = {}
        for standby in sorted({workload.standby for workload in rows}):
            (runtime := folder / f"run{standby:d}").mkdir()
            services[standby] = benchmark_columns.service(
                running.enter_context(
                    benchmark_columns.function(
                        runtime,
                        chosen.memory,
                        max(8, most),
                        standby=standby,
                        processors=processors.copiers,
                    )
                ),
                _STANDBY_BOOT_SECONDS if standby else 0.0,
            )
        columns: dict[str, benchmark_columns.Column] = {
            DEFAULTS: benchmark_columns.command(binary, (), processors.copiers),
            EXPERT: benchmark_columns.command(binary, benchmark_columns.EXPERT, processors.copiers),
            DAEMON: benchmark_columns.daemon(binary, processors.copiers),
        }
        _warm_up(binary, folder, list(services.values()))
        for workload in rows:
            columns[SERVICE] = services[workload.standby]
            for trip in (trip for trip in workload.round_trips if trip in trips):
                # New servers for each row: those that have served other rows are slower.
                with storages.local_servers(binary, folder, processors) as servers:
                    yield benchmark_rows.measure(
                        workload,
                        servers,
                        {name: columns[name] for name in chosen.columns},
                        round_trip_ms=trip,
                        rounds=rounds,
                        divisor=divisor,
                        memory=chosen.memory,
                        ground=medium,
                        processors=processors,
                        report=tell,
                    )


def _warm_up(binary: Path, folder: Path, services: list[benchmark_columns.Column]) -> None:
    """Copy once with each service, untimed: its first request imports modules, but in production
    it runs already.
    """
    storages.fill(folder / "webdav/source/warm", {"file.bin": 4})
    with storages.local_servers(binary, folder) as servers:
        source = servers.endpoint("webdav", "source/warm")
        for number, service in enumerate(services):
            service([(source, servers.endpoint("s3", f"copies/warm{number}"))], False)


def show(found: dict[str, Any], console: Console) -> None:
    """Print the results as tables."""
    if found["rows"]:
        console.print(report.table(found["rows"]))
        loads = [load for row in found["rows"] for load in row["load"]]
        host = found["machine"]
        console.print(
            f"{host['processors']} x {host['processor']}, {host['system']}, {found['date']}; "
            f"load average during the run {min(loads)} to {max(loads)}"
        )
    if compared := found.get("gateway"):
        console.print(gateway.table(compared))
    for table in stand_in.tables(found.get("nextcloud", [])):
        console.print(table)
    if server := found.get("server"):
        console.print(server_run.table(server["rows"]))
        console.print(f"{server['product'] or server['url']}, signed in by {server['sign_in']}")
    if engines := found.get("third_party"):
        console.print(third_party.table(engines))
    if shards := found.get("shards"):
        console.print(benchmark_shards.table(benchmark_shards.Row(**shards)))
    if listing := found.get("listing"):
        console.print(benchmark_listing.describe(benchmark_listing.Row(**listing)))
    if urls := found.get("urls"):
        console.print(benchmark_urls.describe(benchmark_urls.ListedUrls(**urls)))
    if cold := found.get("cold"):
        console.print(cold_start.describe(cold_start.ColdStart(**cold)))


def main() -> int:
    """Measure and print the results; returns 1 if a copy failed or exceeded the memory limit."""
    chosen = arguments.parse(__doc__)
    # A shell ignores SIGINT for what it runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Exit by an exception, so that SIGTERM stops the servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        found = json.loads(chosen.show.read_text("utf-8")) if chosen.show else measure(chosen)
    except KeyboardInterrupt:
        print("scripts/bench: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    if chosen.svg:
        caption = f"Time as a ratio to rclone copy with its defaults, {found['date']}"
        chosen.svg.write_text(report.plot(found["rows"], caption), "utf-8")
    if chosen.json:
        print(json.dumps(found, indent=1))
    else:
        # A file has no width, and the default width would break the table.
        show(found, Console() if sys.stdout.isatty() else Console(width=180))
    every = [*found["rows"], *found.get("gateway", ()), *found.get("nextcloud", ())]
    every += found.get("third_party", ())
    every += found.get("server", {}).get("rows", ())
    return int(any(row["failed"] or row.get("within") is False for row in every))


if __name__ == "__main__":
    sys.exit(main())
