"""The calculation of scripts/scale.py: assumptions, measured rates, shards and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmark.rows import SERVICE

TB: Final = 1e12
GB: Final = 1e9
MB: Final = 1e6


@dataclass(frozen=True)
class Assumptions:
    """Numbers that were not measured here.

    Prices are US dollars without tax for us-east-1, from aws.amazon.com/lambda/pricing,
    aws.amazon.com/s3/pricing and aws.amazon.com/ec2/pricing/on-demand, as far as known on
    2026-11-23. Look them up for your region before you rely on them.
    """

    bytes: float = 200 * TB
    sizes: tuple[float, ...] = (1 * MB, 10 * MB, 100 * MB)
    invocation_seconds: float = 900.0
    margin: float = 0.7  # the margin in planning.py
    # AWS guarantees no rate. Published measurements report 400 to 700 Mbit/s.
    lambda_rate: float = 70 * MB
    lambda_memory_gb: float = 1.0  # template.yaml's default
    # Lambda manual, "Configure Lambda function memory": one CPU for 1,769 MB.
    lambda_gb_per_cpu: float = 1.769
    parallel: tuple[int, ...] = (8, 50, 200)
    gb_second_x86: float = 0.0000166667
    gb_second_arm: float = 0.0000133334
    million_requests: float = 0.20
    thousand_puts: float = 0.005
    # Monthly data transfer to the internet: up to so many GB, dollars for each GB.
    out_tiers: tuple[tuple[float, float], ...] = (
        (10_240, 0.09),
        (51_200, 0.085),
        (153_600, 0.07),
        (math.inf, 0.05),
    )
    links: tuple[float, ...] = (1.0, 10.0, 100.0)  # Gbit/s
    host_link: float = 10.0
    host_price: float = 5000.0  # an estimate for a server with 16 cores
    host_years: float = 5.0
    host_watts: float = 300.0
    kilowatt_hour: float = 0.30


@dataclass(frozen=True)
class Measures:
    """Measured rates of one transfer: files and bytes a second, and files listed a second."""

    files: float
    large: float
    listed: float
    cpu_per_gb: float
    boot: float


def unlimited(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows without a memory limit and without separate CPUs."""
    return [row for row in found["rows"] if row["memory_bound"] is None and not row["apart"]]


def measures(found: Mapping[str, Any]) -> Measures:
    """The rates in docs/bench.json."""
    rows = {(row["row"], row["round_trip_ms"]): row for row in unlimited(found)}
    small, large = rows["small-to-s3", 20], rows["large", 0]
    ours = large["columns"][SERVICE]
    return Measures(
        files=small["files"] / small["columns"][SERVICE]["seconds"],
        large=large["bytes"] / ours["seconds"],
        listed=found["listing"]["files_per_second"],
        cpu_per_gb=ours["cpu_seconds"] / (large["bytes"] / GB),
        boot=rows["tiny", 20]["columns"][SERVICE]["seconds"],
    )


@dataclass(frozen=True)
class ScalePlan:
    """A transfer in shards: their number, the seconds of each, and what limits it."""

    files: float
    shards: int
    shard_seconds: float
    trees: int
    bound: str


def plan_shards(size: float, rate: float, measured: Measures, assumed: Assumptions) -> ScalePlan:
    """Divide the transfer so that each shard fits into one invocation.

    Each shard lists its whole tree, which may take at most half of an invocation; more files are
    divided into several trees.
    """
    files = assumed.bytes / size
    usable = assumed.invocation_seconds * assumed.margin - measured.boot
    max_files = measured.listed * usable / 2
    trees = math.ceil(files / max_files)
    listing = files / trees / measured.listed
    seconds = (assumed.bytes / rate, files / measured.files)
    work = max(seconds)
    shards = trees * math.ceil(work / trees / (usable - listing))
    bound = ("bytes", "files")[seconds.index(work)]
    return ScalePlan(files, shards, measured.boot + listing + work / shards, trees, bound)


def egress_cost(gigabytes: float, tiers: tuple[tuple[float, float], ...]) -> float:
    """Dollars for data transferred from AWS to the internet within one month."""
    total, lower = 0.0, 0.0
    for upper, price in tiers:
        total += max(0.0, min(gigabytes, upper) - lower) * price
        lower = upper
    return total
