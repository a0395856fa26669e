"""The rows of the benchmark: what each copies, and how it is measured."""

from __future__ import annotations

import os
import random
import statistics
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmark import storages
from benchmark.columns import Column, Copy, CopyFailed, Run
from benchmark.cpus import SHARED, Processors
from benchmark.storages import Servers

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
DEFAULTS: Final = "rclone copy"
EXPERT: Final = "expert"
DAEMON: Final = "rcd"
SERVICE: Final = "efss-transfer"
NO_GATEWAY: Final = "no gateway"
_KINDS: Final = {"webdav": "WebDAV", "s3": "S3"}
QUICK: Final = 100
"""The divisor of the amount of data for `--quick`."""


@dataclass(frozen=True)
class Workload:
    """A row of the benchmark.

    `sizes` gives the size of each file by name, for a divisor of their number or size.
    `rate` limits each connection, in bytes a second. `copies` run concurrently.
    `again` measures a second copy to the same destination.
    `standby` makes the service keep an rclone booted (EFSS_TRANSFER_STANDBY).
    `repeats` is the number of copies in each round, for copies so short that their times vary;
    memory is measured in one of them.
    `aims` are the maximum ratios to `rclone copy`, by round trip in milliseconds.
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
    repeats: int = 1
    round_trips: tuple[int, ...] = (0, 20)
    default: bool = True
    aims: Mapping[int, float] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of the source in its storage."""
        return f"source/{self.name}"

    @property
    def source_folder(self) -> str:
        """The path of the source below the folder of all storages."""
        return f"{self.source}/{self.path}"


def small(count: int, lowest: int = KIB, highest: int = 8 * KIB) -> Callable[[int], dict[str, int]]:
    """`count` files of `lowest` to `highest` bytes, a hundred in each folder."""

    def sizes(divisor: int) -> dict[str, int]:
        generator = random.Random(2)  # noqa: S311 - not used for secrets
        return {
            f"{n // 100:03}/{n:05}.dat": generator.randint(lowest, highest)
            for n in range(max(2, count // divisor))
        }

    return sizes


def single(size: int) -> Callable[[int], dict[str, int]]:
    """One file of `size` bytes."""
    return lambda divisor: {"file.bin": max(4, size // divisor)}


def mixed(divisor: int) -> dict[str, int]:
    """A thousand files of 1 KB to 1 MB, and four of 100 MB."""
    large = {f"large/{n}.bin": 100 * MIB // divisor for n in range(4)}
    return small(1000, KIB, MIB)(divisor) | large


WORKLOADS: Final = (
    Workload("tiny", "one file of 4 bytes", single(4), repeats=5, aims={0: 1.05, 20: 1.05}),
    Workload(
        "standby",
        "one file of 4 bytes, with a standby",
        single(4),
        standby=True,
        repeats=5,
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
    Workload("huge", "one file of 8 GiB", single(8 * GIB), default=False),
)


@dataclass(frozen=True)
class MeasuredRow:
    """The results of one row; its members are those of docs/bench.json.

    Seconds, CPU seconds and bytes are medians of all rounds. A ratio is the median of the ratios
    to `rclone copy` in each round. `failed` is the error if the service could not copy. `ground`
    is the medium of all files, memory or disk. `apart` means that the storages had CPUs of their
    own. `way` is the direction, and `within` says whether the service kept to its memory limit.
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
    servers: Servers,
    columns: Mapping[str, Column],
    *,
    round_trip_ms: int,
    rounds: int,
    divisor: int,
    memory: int | None,
    ground: str,
    processors: Processors,
    report: Callable[[str], None],
) -> MeasuredRow:
    """Copy with each column in turn, in every round, and verify every copy byte by byte."""
    rounds *= workload.repeats
    sizes = workload.sizes(divisor)
    load = os.getloadavg()[0]
    with storages.distant_servers(
        servers, round_trip_ms / 1000, workload.rate, processors
    ) as distant:
        label = f"{workload.name}, {round_trip_ms} ms"
        runs, failed = run_rounds(
            workload, distant, columns, rounds, lambda text: report(f"{label}, {text}")
        )
    ours = runs[SERVICE]
    peak = max((run.peak for run in ours), default=0)
    return MeasuredRow(
        row=workload.name,
        title=workload.title,
        way=f"{_KINDS[workload.source]} to {_KINDS[workload.destination]}",
        round_trip_ms=round_trip_ms,
        files=len(sizes) * workload.copies,
        bytes=sum(sizes.values()) * workload.copies,
        rounds=rounds,
        columns={name: _summary(own) for name, own in runs.items() if own},
        ratios=_ratios(runs),
        aim=workload.aims.get(round_trip_ms),
        tuning=ours[-1].tuning if ours else {},
        load=[round(load, 2), round(os.getloadavg()[0], 2)],
        ground=ground,
        apart=processors != SHARED,
        memory_bound=memory,
        within=None if memory is None else not failed and peak <= memory,
        failed=failed,
    )


def run_rounds(
    workload: Workload,
    servers: Servers,
    columns: Mapping[str, Column],
    rounds: int,
    report: Callable[[str], None],
) -> tuple[dict[str, list[Run]], str]:
    """The runs of each column, and the last error of the service."""
    runs: dict[str, list[Run]] = {name: [] for name in columns}
    failed = ""
    same_target = f"copies/{uuid.uuid4().hex}"
    if workload.again:
        _copy_once(workload, servers, same_target, next(iter(columns.values())), memory=False)
    names = list(columns)
    for number in range(rounds):
        # Rotate who is first: the first column may find cold caches.
        first = number % len(names)
        for name in names[first:] + names[:first]:
            report(f"round {number + 1}: {name}")
            # A new path each time, because the servers cache folders.
            target = same_target if workload.again else f"copies/{uuid.uuid4().hex}"
            memory = number % workload.repeats == 0
            try:
                run = _copy_once(workload, servers, target, columns[name], memory=memory)
            except CopyFailed as error:
                if name in (DEFAULTS, EXPERT):
                    raise SystemExit(f"scripts/bench: {error}") from error
                failed = str(error)
                continue
            runs[name].append(run)
            if not workload.again:
                storages.remove(servers.folder_of(servers.endpoint(workload.destination, target)))
    return runs, failed


def _ratios(runs: Mapping[str, list[Run]]) -> dict[str, float]:
    """The median ratio of each column to `rclone copy`, if all rounds have succeeded."""
    plain = runs.get(DEFAULTS, [])
    return {
        name: round(
            statistics.median(a.seconds / b.seconds for a, b in zip(own, plain, strict=True)), 3
        )
        for name, own in runs.items()
        if plain and len(own) == len(plain)
    }


def _copy_once(
    workload: Workload, servers: Servers, target: str, column: Column, *, memory: bool
) -> Run:
    """Run the concurrent copies, each to its own folder below the target, and verify them."""
    start = servers.endpoint(workload.source, workload.path)
    copies: list[Copy] = [
        (start, servers.endpoint(workload.destination, f"{target}/{number}"))
        for number in range(workload.copies)
    ]
    run = column(copies, memory)
    for _, end in copies:
        if not storages.is_identical(servers.folder_of(start), servers.folder_of(end)):
            raise SystemExit(f"scripts/bench: {workload.name}: source and destination differ")
    return run


def _summary(runs: list[Run]) -> dict[str, Any]:
    return {
        "seconds": round(statistics.median(run.seconds for run in runs), 3),
        "cpu_seconds": round(statistics.median(run.cpu for run in runs), 2),
        "peak_bytes": int(statistics.median([run.peak for run in runs if run.peak] or [0])),
        "all_seconds": [round(run.seconds, 3) for run in runs],
    }
