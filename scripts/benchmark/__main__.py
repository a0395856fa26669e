"""Measure the function beside rclone, in the same run, as ratios to `rclone copy`.

Each row is copied by `rclone copy` at its defaults, by it with the flags of an expert, by a
bare `rclone rcd` over HTTP, and by this service; in turns, so that a machine that grows slower
does so for all. Servers are rclone's own, on this machine, and as far away as a row says. A
ratio tells what the service gains or costs, on whatever machine it is run.
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

from benchmark import cold_start, report, storages
from benchmark import columns as benchmark_columns
from benchmark import listing as benchmark_listing
from benchmark import rows as benchmark_rows
from benchmark import shards as benchmark_shards
from benchmark.cpus import SHARED, Processors
from benchmark.rows import DAEMON, DEFAULTS, EXPERT, SERVICE, WORKLOADS
from efss_transfer.engines.rclone.process.binary import find_binary

_APART: Final = ("shards", "listing", "cold")
_PREPARING_SECONDS: Final = 1.0
_PEOPLE: Final = Console(stderr=True)


def machine() -> dict[str, Any]:
    """What was measured on."""
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


def size(text: str) -> int:
    """Bytes, with a unit if there is one: 512M, 2G."""
    units = {"K": 10, "M": 20, "G": 30}
    number, shift = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 0)
    if not number.isdecimal() or int(number) << shift < 256 << 20:
        raise argparse.ArgumentTypeError("a number of bytes such as 512M or 2G, 256M at least")
    return int(number) << shift


def names(text: str) -> list[str]:
    """Names of rows, with commas between them."""
    known = [workload.name for workload in WORKLOADS] + list(_APART)
    chosen = text.split(",")
    if unknown := set(chosen) - set(known):
        raise argparse.ArgumentTypeError(
            f"no row {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return chosen


def columns(text: str) -> list[str]:
    """Who copies, with commas between them; the service does in any case."""
    chosen = text.split(",")
    if unknown := set(chosen) - set(report.COLUMNS):
        raise argparse.ArgumentTypeError(
            f"no {', '.join(sorted(unknown))}; there are {', '.join(report.COLUMNS)}"
        )
    return [name for name in report.COLUMNS if name in (*chosen, SERVICE)]


def arguments() -> argparse.Namespace:
    """What was asked for."""
    usual = [workload.name for workload in WORKLOADS if workload.usual]
    rows = "\n".join(f"  {row.name:16} {row.title}" for row in WORKLOADS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"rows:\n{rows}\n  {'shards':16} four shards at once beside one request\n"
        f"  {'listing':16} one of 10,000 shards of 20,000 files: what a look at all costs\n"
        f"  {'cold':16} a cold start on AWS Lambda\n\n"
        "All but the last four if none is chosen: 8 GiB want 30 GB of disk and memory.\n\n"
        f"the expert's flags: {' '.join(benchmark_columns.EXPERT)}\n\n"
        "examples: scripts/bench --quick\n"
        "          scripts/bench --rows small-to-s3,large --round-trips 20 --json\n"
        "          scripts/bench --memory 512M --columns efss-transfer",
    )
    parser.add_argument("--rows", type=names, default=usual, metavar="NAME,NAME")
    parser.add_argument("--rounds", type=int, help="of each row (3; with --quick 1)")
    parser.add_argument(
        "--round-trips", default="0,20", metavar="MS,MS", help="added on each side (0,20)"
    )
    parser.add_argument(
        "--columns",
        type=columns,
        default=list(report.COLUMNS),
        metavar="NAME,NAME",
        help=f"who copies, of: {', '.join(report.COLUMNS)} (all)",
    )
    parser.add_argument("--quick", action="store_true", help="a hundredth of all, to try it out")
    parser.add_argument(
        "--apart",
        action="store_true",
        help="half of the processors for the storages, as at a site, and half for who copies",
    )
    parser.add_argument("--memory", type=size, help="the service within so many bytes, as 512M")
    parser.add_argument("--json", action="store_true", help="print JSON for a program")
    parser.add_argument(
        "--save", type=Path, help="keep each row in this JSON as it is done, beside its others"
    )
    parser.add_argument("--svg", type=Path, help="write the plot to this file")
    parser.add_argument(
        "--show", type=Path, help="measure nothing: show this JSON of an earlier run"
    )
    return parser.parse_args()


def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """All rows that were asked for, as JSON has them."""
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    trips = [int(trip) for trip in chosen.round_trips.split(",")]
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "expert": list(benchmark_columns.EXPERT),
        "rows": [],
    }
    rows = [workload for workload in WORKLOADS if workload.name in chosen.rows]
    for row in _rows(rows, trips, rounds, chosen) if rows else ():
        found["rows"].append(asdict(row))
        save(found, chosen.save)
    if "shards" in chosen.rows:
        found["shards"] = asdict(benchmark_shards.measured(rounds))
    if "listing" in chosen.rows:
        files = benchmark_listing.FILES // (benchmark_rows.QUICK if chosen.quick else 1)
        found["listing"] = asdict(benchmark_listing.measured(rounds, files))
    if "cold" in chosen.rows:
        found["cold"] = asdict(cold_start.measure(rounds))
    save(found, chosen.save)
    return found


def save(found: dict[str, Any], file: Path | None) -> None:
    """Keep what was measured, in place of what a file has of the same rows."""
    if file is None:
        return
    kept = json.loads(file.read_text("utf-8")) if file.exists() else {"rows": []}
    rows = {place(row): row for row in [*kept["rows"], *found["rows"]]}
    whole = kept | found | {"rows": [rows[key] for key in sorted(rows)]}
    file.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


def place(row: dict[str, Any]) -> tuple[int, bool, int, int]:
    """Where a row stands among all."""
    order = [workload.name for workload in WORKLOADS]
    return row["memory_bound"] or 0, row["apart"], order.index(row["row"]), row["round_trip_ms"]


def _rows(
    rows: list[benchmark_rows.Workload], trips: list[int], rounds: int, chosen: argparse.Namespace
) -> Iterator[benchmark_rows.Measured]:
    binary = find_binary(None)
    processors = Processors.apart() if chosen.apart else SHARED
    divisor = benchmark_rows.QUICK if chosen.quick else 1
    most = max(workload.copies for workload in rows)
    # All sources stand there at once, and what a round copies beside them.
    sizes = [(sum(row.sizes(divisor).values()), row.copies) for row in rows]
    room = sum(size for size, _ in sizes) + 2 * max(size * copies for size, copies in sizes)
    with ExitStack() as running:
        folder, ground = running.enter_context(storages.ground(room))
        for workload in rows:  # before the servers look
            storages.fill(folder / workload.kept, workload.sizes(divisor))
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
                _PREPARING_SECONDS if standby else 0.0,
            )
        who: dict[str, benchmark_columns.Column] = {
            DEFAULTS: benchmark_columns.command(binary, (), processors.copiers),
            EXPERT: benchmark_columns.command(binary, benchmark_columns.EXPERT, processors.copiers),
            DAEMON: benchmark_columns.daemon(binary, processors.copiers),
        }
        _warm(binary, folder, list(services.values()))
        for workload in rows:
            who[SERVICE] = services[workload.standby]
            for trip in (trip for trip in workload.round_trips if trip in trips):
                # Servers that have served the rows before are slower, each in its own way.
                with storages.near(binary, folder, processors) as places:
                    yield benchmark_rows.measure(
                        workload,
                        places,
                        {name: who[name] for name in chosen.columns},
                        round_trip_ms=trip,
                        rounds=rounds,
                        divisor=divisor,
                        memory=chosen.memory,
                        ground=ground,
                        processors=processors,
                        tell=lambda text: _PEOPLE.print(f"{datetime.now(UTC):%H:%M:%S} {text}"),
                    )


def _warm(binary: Path, folder: Path, services: list[benchmark_columns.Column]) -> None:
    """Copy once by each service, untimed: at a site it runs already, and the first request has
    modules to import.
    """
    storages.fill(folder / "webdav/source/warm", {"file.bin": 4})
    with storages.near(binary, folder) as places:
        source = places.endpoint("webdav", "source/warm")
        for number, service in enumerate(services):
            service([(source, places.endpoint("s3", f"copies/warm{number}"))], False)


def told(found: dict[str, Any], console: Console) -> None:
    """Tell a person."""
    if found["rows"]:
        console.print(report.table(found["rows"]))
        loads = [load for row in found["rows"] for load in row["load"]]
        about = found["machine"]
        console.print(
            f"{about['processors']} x {about['processor']}, {about['system']}, {found['date']}; "
            f"load while it was measured {min(loads)} to {max(loads)}"
        )
    if shards := found.get("shards"):
        console.print(benchmark_shards.table(benchmark_shards.Row(**shards)))
    if listing := found.get("listing"):
        console.print(benchmark_listing.told(benchmark_listing.Row(**listing)))
    if cold := found.get("cold"):
        console.print(cold_start.told(cold_start.Cold(**cold)))


def main() -> int:
    """Measure, and print a table or JSON; 1 if a bound of memory was not kept, or a copy failed."""
    chosen = arguments()
    # What was started ends with it, also where it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    found = json.loads(chosen.show.read_text("utf-8")) if chosen.show else measured(chosen)
    if chosen.svg:
        about = f"Time as a ratio to rclone copy at its defaults, {found['date']}"
        chosen.svg.write_text(report.plot(found["rows"], about), "utf-8")
    if chosen.json:
        print(json.dumps(found, indent=1))
    else:
        # A file has no width; at that of a small terminal a table cannot be read.
        told(found, Console() if sys.stdout.isatty() else Console(width=180))
    return int(any(row["failed"] or row["within"] is False for row in found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
