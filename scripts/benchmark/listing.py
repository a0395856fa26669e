"""Measures the fixed cost of a shard: each shard lists the whole tree, whatever its part of it.

`scripts/bench --rows listing` runs it; docs/scale.md uses the result.
"""

from __future__ import annotations

import statistics
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from benchmark import columns, storages
from benchmark.rows import KIB, small
from efss_transfer.engines.rclone.process.binary import find_binary

FILES: Final = 20_000
ROUND_TRIP_SECONDS: Final = 0.02
_SHARDS: Final = 10_000


@dataclass(frozen=True)
class Row:
    """The median time of a request for one of 10,000 shards, which copies next to nothing, and
    the files listed per second.
    """

    files: int
    round_trip_ms: int
    rounds: int
    seconds: float
    files_per_second: float


def measure(rounds: int, files: int = FILES) -> Row:
    """Request a different shard with a different destination in each round."""
    seconds_taken = []
    with ExitStack() as running:
        folder, _ = running.enter_context(storages.work_folder(files * 8 * KIB))
        (folder / "run").mkdir()
        storages.fill(folder / "webdav/source/many", small(files)(1))
        local = running.enter_context(storages.local_servers(find_binary(None), folder))
        distant = running.enter_context(storages.distant_servers(local, ROUND_TRIP_SECONDS, 0.0))
        function = running.enter_context(columns.function(folder / "run", None, 8))
        for index in range(rounds):
            began = time.perf_counter()
            response = function.copy(
                distant.endpoint("webdav", "source/many"),
                distant.endpoint("s3", f"copies/{uuid.uuid4().hex}"),
                selection={"shard": {"index": index, "count": _SHARDS}},
            )
            seconds_taken.append(time.perf_counter() - began)
            if response.status_code != 200:
                raise SystemExit(f"scripts/bench: the shard failed: {response.text[:500]}")
    seconds = statistics.median(seconds_taken)
    return Row(
        files, round(ROUND_TRIP_SECONDS * 1000), rounds, round(seconds, 3), round(files / seconds)
    )


def describe(row: Row) -> str:
    """The result as a line of text."""
    return (
        f"one of {_SHARDS} shards of {row.files} files, round trip {row.round_trip_ms} ms: "
        f"{row.seconds:.2f} s, {row.files_per_second:.0f} files listed per second"
    )
