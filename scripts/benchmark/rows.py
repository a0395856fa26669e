"""What is copied in the bench, and how each row is measured."""

from __future__ import annotations

import os
import random
import statistics
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmark import storages
from benchmark.columns import Column, Copy, Failed, Run
from benchmark.cpus import SHARED, Processors
from benchmark.storages import Places

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
DEFAULTS: Final = "rclone copy"
EXPERT: Final = "expert"
DAEMON: Final = "rcd"
SERVICE: Final = "efss-transfer"
_KINDS: Final = {"webdav": "WebDAV", "s3": "S3"}
QUICK: Final = 100
"""By how much a quick bench divides what is copied."""


@dataclass(frozen=True)
class Workload:
    """A row. `sizes` gives the files' bytes by their names, for a divisor of their number or
    size; `rate` holds each connection to so many bytes a second; `copies` are made at once;
    `again` times the second copy to the same place; for `standby` the service keeps an rclone
    booted, as EFSS_TRANSFER_STANDBY has it; what takes moments is made `often` in each round's
    place, because moments differ, and memory is looked at once of them. `aims` are what the
    issue asks for, the ratio to rclone's defaults by the round trip in milliseconds.
    """

    name: str
    title: str
    sizes: Callable[[int], dict[str, int]]
    source: str = "webdav"
    destination: str = "s3"
    rate: float = 0.0
    copies: int = 1
    again: bool = False
    standby: bool = False
    often: int = 1
    round_trips: tuple[int, ...] = (0, 20)
    usual: bool = True
    aims: Mapping[int, float] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where its source stands in its storage."""
        return f"source/{self.name}"

    @property
    def kept(self) -> str:
        """The same, below what all storages keep."""
        return f"{self.source}/{self.path}"


def small(count: int, lowest: int = KIB, highest: int = 8 * KIB) -> Callable[[int], dict[str, int]]:
    """So many files of between so many bytes, a hundred in each folder."""

    def sizes(divisor: int) -> dict[str, int]:
        made = random.Random(2)  # noqa: S311 - nothing is kept secret by it
        return {
            f"{n // 100:03}/{n:05}.dat": made.randint(lowest, highest)
            for n in range(max(2, count // divisor))
        }

    return sizes


def single(size: int) -> Callable[[int], dict[str, int]]:
    """One file of so many bytes."""
    return lambda divisor: {"file.bin": max(4, size // divisor)}


def mixed(divisor: int) -> dict[str, int]:
    """A thousand files of 1 KB to 1 MB, and four of 100 MB."""
    large = {f"large/{n}.bin": 100 * MIB // divisor for n in range(4)}
    return small(1000, KIB, MIB)(divisor) | large


WORKLOADS: Final = (
    Workload("tiny", "one file of 4 bytes", single(4), often=5, aims={0: 1.05, 20: 1.05}),
    Workload(
        "standby",
        "one file of 4 bytes, with a standby",
        single(4),
        standby=True,
        often=5,
        aims={0: 0.6},
    ),
    Workload("small-to-s3", "2,000 files of 1-8 KB", small(2000), aims={20: 1 / 8}),
    Workload(
        "small-to-webdav",
        "2,000 files of 1-8 KB",
        small(2000),
        source="s3",
        destination="webdav",
        aims={20: 1 / 5},
    ),
    Workload("again", "2,000 files, nothing to do", small(2000), again=True, aims={20: 0.5}),
    Workload("large", "one file of 1 GiB", single(GIB), aims={0: 1.02, 20: 1.02}),
    Workload(
        "held",
        "1 GiB, each connection 20 MB/s",
        single(GIB),
        rate=20e6,
        aims={0: 1.02, 20: 1.02},
    ),
    Workload("mixed", "1,000 files to 1 MB, 4 of 100 MB", mixed),
    Workload("sixteen", "16 requests at once, 50 files each", small(50), copies=16),
    Workload("many", "20,000 files of 1-8 KB", small(20_000)),
    Workload("huge", "one file of 8 GiB", single(8 * GIB), usual=False),
)


@dataclass(frozen=True)
class Measured:
    """One row. Seconds, processor seconds and bytes are medians of the rounds; a ratio is the
    median of each round's own ratio to rclone's defaults. `failed` is why the service did
    not copy, if it did not. `ground` is what all stood on: memory or a disk; `apart`
    says that the storages had processors of their own.
    """

    row: str
    title: str
    way: str
    round_trip_ms: int
    files: int
    bytes: int
    rounds: int
    columns: dict[str, dict[str, Any]]
    ratios: dict[str, float]
    aim: float | None
    tuning: dict[str, Any]
    load: list[float]
    ground: str
    apart: bool
    memory_bound: int | None = None
    within: bool | None = None
    failed: str = ""


def measure(
    workload: Workload,
    places: Places,
    columns: Mapping[str, Column],
    *,
    round_trip_ms: int,
    rounds: int,
    divisor: int,
    memory: int | None,
    ground: str,
    processors: Processors,
    tell: Callable[[str], None],
) -> Measured:
    """Copy it so many rounds by each, in turns, and compare what arrived with what was sent."""
    rounds *= workload.often
    sizes = workload.sizes(divisor)
    source = workload.path
    runs: dict[str, list[Run]] = {name: [] for name in columns}
    failed = ""
    load = os.getloadavg()[0]
    with storages.far(places, round_trip_ms / 1000, workload.rate, processors) as far:
        there = f"copies/{uuid.uuid4().hex}"
        if workload.again:
            _one(workload, far, source, there, next(iter(columns.values())), looking=False)
        for number in range(rounds):
            names = list(columns)
            # Each is first in its turn: the first may find caches cold.
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                tell(f"{workload.name}, {round_trip_ms} ms, round {number + 1}: {name}")
                # A new name each time: the servers remember folders.
                target = there if workload.again else f"copies/{uuid.uuid4().hex}"
                try:
                    looking = number % workload.often == 0
                    run = _one(workload, far, source, target, columns[name], looking=looking)
                except Failed as error:
                    failed = str(error)
                    continue
                runs[name].append(run)
                if not workload.again:
                    storages.remove(places.at(places.endpoint(workload.destination, target)))
    ours = runs[SERVICE]
    peak = max((run.peak for run in ours), default=0)
    plain = runs.get(DEFAULTS, [])
    return Measured(
        row=workload.name,
        title=workload.title,
        way=f"{_KINDS[workload.source]} to {_KINDS[workload.destination]}",
        round_trip_ms=round_trip_ms,
        files=len(sizes) * workload.copies,
        bytes=sum(sizes.values()) * workload.copies,
        rounds=rounds,
        columns={name: _told(made) for name, made in runs.items() if made},
        ratios={
            name: round(
                statistics.median(a.seconds / b.seconds for a, b in zip(made, plain, strict=True)),
                3,
            )
            for name, made in runs.items()
            if plain and len(made) == len(plain)
        },
        aim=workload.aims.get(round_trip_ms),
        tuning=ours[-1].tuning if ours else {},
        load=[round(load, 2), round(os.getloadavg()[0], 2)],
        ground=ground,
        apart=processors != SHARED,
        memory_bound=memory,
        within=None if memory is None else not failed and peak <= memory,
        failed=failed,
    )


def _one(
    workload: Workload, places: Places, source: str, target: str, column: Column, *, looking: bool
) -> Run:
    """Copy at once, each to a place of its own below the target; all of it must arrive."""
    start = places.endpoint(workload.source, source)
    copies: list[Copy] = [
        (start, places.endpoint(workload.destination, f"{target}/{number}"))
        for number in range(workload.copies)
    ]
    run = column(copies, looking)
    for _, end in copies:
        if not storages.same(places.at(start), places.at(end)):
            raise SystemExit(f"scripts/bench: {workload.name}: what arrived is not what was sent")
    return run


def _told(runs: list[Run]) -> dict[str, Any]:
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 3),
        "cpu_seconds": round(statistics.median(run.cpu for run in runs), 2),
        "peak_bytes": int(statistics.median([run.peak for run in runs if run.peak] or [0])),
        "all_seconds": [round(run.seconds, 3) for run in runs],
    }
