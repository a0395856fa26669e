"""Time what a shard costs before it copies: it lists all of its tree, whatever its part of it.

`scripts/bench --rows listing` runs it; docs/scale.md reckons with it.
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
ROUND_TRIP: Final = 0.02
_SHARDS: Final = 10_000


@dataclass(frozen=True)
class Row:
    """Seconds, a median, from a request for one of 10,000 shards, which copies next to nothing,
    to its answer; and how many files a second were looked at then.
    """

    files: int
    round_trip_ms: int
    rounds: int
    seconds: float
    files_per_second: float


def measured(rounds: int, files: int = FILES) -> Row:
    """Ask for it so many times, each with another shard and another destination."""
    taken = []
    with ExitStack() as running:
        folder, _ = running.enter_context(storages.ground(files * 8 * KIB))
        (folder / "run").mkdir()
        storages.fill(folder / "webdav/source/many", small(files)(1))
        near = running.enter_context(storages.near(find_binary(None), folder))
        far = running.enter_context(storages.far(near, ROUND_TRIP, 0.0))
        function = running.enter_context(columns.function(folder / "run", None, 8))
        for index in range(rounds):
            began = time.perf_counter()
            answer = function.copy(
                far.endpoint("webdav", "source/many"),
                far.endpoint("s3", f"copies/{uuid.uuid4().hex}"),
                selection={"shard": {"index": index, "count": _SHARDS}},
            )
            taken.append(time.perf_counter() - began)
            if answer.status_code != 200:
                raise SystemExit(f"scripts/bench: no shard: {answer.text[:500]}")
    seconds = statistics.median(taken)
    return Row(files, round(ROUND_TRIP * 1000), rounds, round(seconds, 3), round(files / seconds))


def told(row: Row) -> str:
    """What a person is told of it."""
    return (
        f"one of {_SHARDS} shards of {row.files} files from {row.round_trip_ms} ms away: "
        f"{row.seconds:.2f} s, {row.files_per_second:.0f} files a second looked at"
    )
