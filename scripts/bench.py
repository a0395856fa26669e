"""Time the function beside `rclone copy` of the same, in the same run, as ratios.

A ratio tells what the service costs on top of rclone, on whatever machine it is run.
The two are timed in turns, so that a machine that grows slower does so for both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import bench_shards
import cold_start
import servers
from efss_transfer import request
from efss_transfer.engines.rclone.binary import find_binary

GIB = 1 << 30


@dataclass(frozen=True)
class Row:
    """One workload. Seconds are medians; the ratio is the median of the runs' own ratios."""

    workload: str
    runs: int
    rclone_seconds: float
    function_seconds: float
    ratio: float
    aim: float


def time_function(function: servers.Function, source: Any, destination: Any) -> float:
    """Seconds from sending a request to having its answer."""
    began = time.perf_counter()
    answer = function.post({"source": source, "destination": destination}, timeout=3600)
    seconds = time.perf_counter() - began
    if answer.status_code != 200 or answer.json()["totals"]["files"]["transferred"] != 1:
        raise SystemExit(f"scripts/bench: the function did not copy: {answer.text[:500]}")
    return seconds


def time_rclone(binary: Path, source: Any, destination: Any) -> float:
    """Seconds that the rclone command takes, at its defaults, for the same copy."""
    environment = {"HOME": "/nonexistent", "RCLONE_CONFIG": ""}
    for side, endpoint in (("SOURCE", source), ("DESTINATION", destination)):
        environment[f"RCLONE_CONFIG_{side}_TYPE"] = endpoint["type"]
        for name, value in endpoint["parameters"].items():
            environment[f"RCLONE_CONFIG_{side}_{name.upper()}"] = (
                obscured(binary, value) if name == "pass" else str(value)
            )
    command = [
        str(binary),
        "copy",
        f"source:{source['path']}",
        f"destination:{destination['path']}",
    ]
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


_OBSCURED: dict[str, str] = {}


def obscured(binary: Path, password: str) -> str:
    """A password as rclone wants it in its environment; not part of what is timed."""
    if password not in _OBSCURED:
        _OBSCURED[password] = subprocess.run(
            [binary, "obscure", "-"], input=password, capture_output=True, text=True, check=True
        ).stdout.strip()
    return _OBSCURED[password]


def measure(
    function: servers.Function,
    binary: Path,
    name: str,
    source: servers.Storage,
    destination: servers.Storage,
    folder: str,
    runs: int,
    aim: float,
) -> Row:
    """Copy the folder `runs` times by either, after one of each that is not counted."""
    pairs: list[tuple[float, float]] = []
    for run in range(runs + 1):
        targets = [destination.endpoint(f"{folder}-{run}-{who}") for who in "fr"]
        # In turns, and each first in turn: the first may find caches cold.
        if run % 2:
            ours = time_function(function, source.endpoint(folder), targets[0])
            plain = time_rclone(binary, source.endpoint(folder), targets[1])
        else:
            plain = time_rclone(binary, source.endpoint(folder), targets[1])
            ours = time_function(function, source.endpoint(folder), targets[0])
        if run:
            pairs.append((ours, plain))
        for target in targets:
            remove(destination, target["path"])
    return Row(
        workload=name,
        runs=runs,
        rclone_seconds=round(statistics.median(plain for _, plain in pairs), 4),
        function_seconds=round(statistics.median(ours for ours, _ in pairs), 4),
        ratio=round(statistics.median(ours / plain for ours, plain in pairs), 3),
        aim=aim,
    )


def remove(storage: servers.Storage, path: str) -> None:
    """Make room again: the large file would fill the disk, run after run."""
    folder = storage.details["folder"] / path
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def checking_seconds(runs: int = 200) -> float:
    """Seconds to check one request against the schema, median."""
    body = json.dumps(
        json.loads((servers.ROOT / "schema/request.schema.json").read_text("utf-8"))["examples"][0]
    ).encode()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        request.parse(body)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench --runs 5 --json",
    )
    parser.add_argument("--runs", type=int, default=11, help="runs of the tiny copy (11)")
    parser.add_argument("--large-runs", type=int, default=3, help="runs of the 1 GiB file (3)")
    parser.add_argument("--bytes", type=int, default=GIB, help="the large file's size (1 GiB)")
    parser.add_argument(
        "--shards",
        type=int,
        metavar="RUNS",
        help="only that: four shards at once beside one request",
    )
    parser.add_argument(
        "--cold", action="store_true", help="time a cold start on AWS Lambda instead"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for a program")
    chosen = parser.parse_args()
    if chosen.shards:
        return bench_shards.main(chosen.shards, as_json=chosen.json)

    if chosen.cold:
        cold = cold_start.measure(chosen.runs)
        print(json.dumps(asdict(cold)) if chosen.json else cold_start.told(cold))
        return 0
    binary = find_binary(None)
    with ExitStack() as running:
        root = Path(running.enter_context(tempfile.TemporaryDirectory()))
        for name in ("run", "source", "destination"):
            (root / name).mkdir()
        function = running.enter_context(servers.function(root / "run"))
        source = running.enter_context(servers.rclone_webdav(root / "source", binary))
        destination = running.enter_context(servers.rclone_webdav(root / "destination", binary))
        source.fill("tiny", {"file.txt": b"tiny"})
        (root / "source" / "large").mkdir()
        with (root / "source" / "large" / "file.bin").open("wb") as large:
            for _ in range(0, chosen.bytes, 1 << 20):
                large.write(os.urandom(min(1 << 20, chosen.bytes)))
        source.fill("tiny", {"file.txt": b"tiny"})
        rows = [
            measure(
                function, binary, "one tiny file", source, destination, "tiny", chosen.runs, 1.1
            ),
            measure(
                function,
                binary,
                f"one file of {chosen.bytes / GIB:g} GiB",
                source,
                destination,
                "large",
                chosen.large_runs,
                1.3,
            ),
        ]
    checking = checking_seconds()
    if chosen.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "checking_seconds": checking}))
        return 0
    table = Table("workload", "runs", "rclone copy", "function", "ratio", "aim")
    for row in rows:
        table.add_row(
            row.workload,
            str(row.runs),
            f"{row.rclone_seconds:.3f} s",
            f"{row.function_seconds:.3f} s",
            f"{row.ratio:.2f}",
            f"≤ {row.aim:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"checking one request: {checking * 1000:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
