"""Compares four concurrent shards with the same copy in one request, from a distant source.

Each request uses four transfers only: with the default number no copy would wait for round
trips, and shards would gain nothing. Both alternate in the same run; the ratio shows the gain for
a copy that waits for its source. `scripts/bench --rows shards` runs it.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from efss_transfer.engines.rclone.process.binary import find_binary
from support import service_process, slow_network
from support import storages as servers

SHARDS: Final = 4
FILES: Final = 800
FOLDERS: Final = 8
SIZE: Final = 4096
ROUND_TRIP_SECONDS: Final = 0.1
TRANSFERS: Final = 4
AIM: Final = 0.35


@dataclass(frozen=True)
class Row:
    """The result. Seconds are medians; the ratio is the median of the ratios of each run."""

    workload: str
    runs: int
    one_request_seconds: float
    shards_seconds: float
    ratio: float
    aim: float


def copy_seconds(
    function: service_process.Function, source: Any, destination: Any, count: int
) -> float:
    """Seconds until the responses to all concurrent shards; checks that every file was copied."""

    def one(index: int) -> int:
        selection = {"shard": {"index": index, "count": count}} if count > 1 else {}
        options = {"transfers": TRANSFERS}
        response = function.copy(source, destination, selection=selection, options=options)
        if response.status_code != 200:
            raise SystemExit(f"scripts/bench: the copy failed: {response.text[:500]}")
        return int(response.json()["totals"]["files"]["transferred"])

    with ThreadPoolExecutor(count) as pool:
        began = time.perf_counter()
        files = sum(pool.map(one, range(count)))
        seconds = time.perf_counter() - began
    if files != FILES:
        raise SystemExit(f"scripts/bench: {files} of {FILES} files were copied")
    return seconds


def measure(runs: int) -> Row:
    """Copy with one request and with four shards, `runs` times after an uncounted first run."""
    pairs: list[tuple[float, float]] = []
    with ExitStack() as running:
        root = Path(running.enter_context(tempfile.TemporaryDirectory()))
        for name in ("run", "source", "destination"):
            (root / name).mkdir()
        binary = find_binary(None)
        function = running.enter_context(service_process.function(root / "run"))
        source = running.enter_context(servers.rclone_webdav(root / "source", binary))
        destination = running.enter_context(servers.rclone_webdav(root / "destination", binary))
        source.fill(
            "far", {f"{n % FOLDERS}/{n:04}.bin": bytes([n % 256]) * SIZE for n in range(FILES)}
        )
        distant_url = running.enter_context(
            slow_network.distant(source.parameters["url"], ROUND_TRIP_SECONDS)
        )
        start = source.endpoint("far", url=distant_url)
        for run in range(runs + 1):
            seconds = {}
            # Alternate who is first: the first may find cold caches.
            for count in (1, SHARDS) if run % 2 else (SHARDS, 1):
                target = f"{run}-{count}"
                seconds[count] = copy_seconds(function, start, destination.endpoint(target), count)
                shutil.rmtree(root / "destination" / target)
            if run:
                pairs.append((seconds[1], seconds[SHARDS]))
    return Row(
        workload=f"{FILES} files of {SIZE // 1024} KB, "
        f"round trip {ROUND_TRIP_SECONDS * 1000:.0f} ms, {TRANSFERS} at a time",
        runs=runs,
        one_request_seconds=round(statistics.median(one for one, _ in pairs), 3),
        shards_seconds=round(statistics.median(shards for _, shards in pairs), 3),
        ratio=round(statistics.median(shards / one for one, shards in pairs), 3),
        aim=AIM,
    )


def table(row: Row) -> Table:
    """The result as a table."""
    shown = Table("workload", "runs", "one request", f"{SHARDS} shards at once", "ratio", "aim")
    shown.add_row(
        row.workload,
        str(row.runs),
        f"{row.one_request_seconds:.2f} s",
        f"{row.shards_seconds:.2f} s",
        f"{row.ratio:.2f}",
        f"≤ {row.aim:.2f}",
    )
    return shown
