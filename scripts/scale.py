"""Reckon what bounds 200 TB, and what it costs, from what scripts/bench has measured.

    scripts/bench --save docs/bench.json     # measure
    .venv/bin/python scripts/scale.py        # write the numbers into docs/ and README.md

All that is assumed stands in `Assumed`, with its source; all else is measured (docs/bench.json).
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmark import report
from benchmark.rows import DEFAULTS, SERVICE

ROOT: Final = Path(__file__).parents[1]
MEASURED: Final = ROOT / "docs/bench.json"
PLOT: Final = ROOT / "docs/bench.svg"
DOCUMENTS: Final = (ROOT / "docs/bench.md", ROOT / "docs/scale.md", ROOT / "README.md")
SHORT: Final = ("small-to-s3", "large", "sixteen")

_TB: Final = 1e12
_GB: Final = 1e9
_MB: Final = 1e6
_HOUR: Final = 3600.0


@dataclass(frozen=True)
class Assumed:
    """What was not measured here. Prices are US dollars without tax, as they stood for
    us-east-1 in the price lists of aws.amazon.com/lambda/pricing, aws.amazon.com/s3/pricing
    and aws.amazon.com/ec2/pricing/on-demand as far as they are known on 2026-11-23; look them
    up for your region before you rely on them.
    """

    bytes: float = 200 * _TB
    sizes: tuple[float, ...] = (1 * _MB, 10 * _MB, 100 * _MB)
    invocation_seconds: float = 900.0
    margin: float = 0.7  # as planning.py has it
    # AWS promises none. People who have measured it report 400 to 700 Mbit/s.
    lambda_rate: float = 70 * _MB
    lambda_memory_gb: float = 1.0  # template.yaml's default
    # Lambda's manual, "Configure Lambda function memory": one processor for 1,769 MB.
    lambda_gb_of_processor: float = 1.769
    at_once: tuple[int, ...] = (8, 50, 200)
    gb_second_x86: float = 0.0000166667
    gb_second_arm: float = 0.0000133334
    million_requests: float = 0.20
    thousand_puts: float = 0.005
    # To the internet, by the month: up to so many GB, dollars each.
    out_tiers: tuple[tuple[float, float], ...] = (
        (10_240, 0.09),
        (51_200, 0.085),
        (153_600, 0.07),
        (math.inf, 0.05),
    )
    links: tuple[float, ...] = (1.0, 10.0, 100.0)  # Gbit/s
    host_link: float = 10.0
    host_price: float = 5000.0  # a server with 16 cores, ours to guess, written off
    host_years: float = 5.0
    host_watts: float = 300.0
    kilowatt_hour: float = 0.30


@dataclass(frozen=True)
class Measures:
    """What is reckoned with, of what was measured: rates of one transfer, a second."""

    files: float
    large: float
    looked: float
    cpu_per_gb: float
    boot: float


def unbound(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of times: all memory and all processors for everybody."""
    return [row for row in found["rows"] if row["memory_bound"] is None and not row["apart"]]


def measures(found: Mapping[str, Any]) -> Measures:
    """Take them from docs/bench.json."""
    rows = {(row["row"], row["round_trip_ms"]): row for row in unbound(found)}
    small, large = rows["small-to-s3", 20], rows["large", 0]
    ours = large["columns"][SERVICE]
    return Measures(
        files=small["files"] / small["columns"][SERVICE]["seconds"],
        large=large["bytes"] / ours["seconds"],
        looked=found["listing"]["files_per_second"],
        cpu_per_gb=ours["cpu_seconds"] / (large["bytes"] / _GB),
        boot=rows["tiny", 20]["columns"][SERVICE]["seconds"],
    )


@dataclass(frozen=True)
class Reckoned:
    """A whole transfer by shards: how many, how long each works, and what it waits for."""

    files: float
    shards: int
    shard_seconds: float
    trees: int
    bound: str


def reckoned(size: float, rate: float, seen: Measures, given: Assumed) -> Reckoned:
    """Divide it so that no shard takes more than an invocation has.

    Each shard looks at all files of its tree, so that a tree can be too large for shards: half
    of an invocation may go to that, and what has more files is given as several trees.
    """
    files = given.bytes / size
    room = given.invocation_seconds * given.margin - seen.boot
    most = seen.looked * room / 2
    trees = math.ceil(files / most)
    look = files / trees / seen.looked
    seconds = (given.bytes / rate, files / seen.files)
    work = max(seconds)
    shards = trees * math.ceil(work / trees / (room - look))
    bound = ("bytes", "files")[seconds.index(work)]
    return Reckoned(files, shards, seen.boot + look + work / shards, trees, bound)


def leaving(gigabytes: float, tiers: tuple[tuple[float, float], ...]) -> float:
    """Dollars for data that leaves AWS for the internet within one month."""
    total, from_ = 0.0, 0.0
    for until, price in tiers:
        total += max(0.0, min(gigabytes, until) - from_) * price
        from_ = until
    return total


def _table(head: str, rows: list[list[str]]) -> str:
    columns = head.count("|") + 1
    lines = [f"| {head} |", "|---" + "|--:" * (columns - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _count(number: float) -> str:
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"


def _hours(seconds: float) -> str:
    hours = seconds / _HOUR
    return f"{hours:.0f} h" if hours < 96 else f"{_count(hours / 24)} days"


def sections(found: Mapping[str, Any], given: Assumed) -> dict[str, str]:
    """All tables of the documents, by name."""
    seen = measures(found)
    about = found["machine"]
    processor = given.lambda_memory_gb / given.lambda_gb_of_processor
    rows = unbound(found)
    loads = [load for row in rows for load in row["load"]]
    plans = {size: reckoned(size, given.lambda_rate, seen, given) for size in given.sizes}
    return {
        "machine": (
            f"Measured on {found['date']} with {about['processors']} processors "
            f"({about['processor']}), {about['memory_bytes'] / (1 << 30):.0f} GiB, "
            f"{about['system']}, servers and proxies on the same machine, and nothing else; load "
            f"{min(loads):.1f} to {max(loads):.1f}, caused by the copies themselves.\n"
        ),
        "bench": report.markdown(rows),
        "apart": report.markdown([row for row in found["rows"] if row["apart"]]),
        "short": _short(rows),
        "memory": _memory(found["rows"]),
        "measured": _table(
            "one transfer | |",
            [
                ["small files, WebDAV to S3, 20 ms away", f"{_count(seen.files)} a second", ""],
                ["one large file, 0 ms away", f"{_count(seen.large / _MB)} MB/s", ""],
                ["listing files, 20 ms away", f"{_count(seen.looked)} a second", ""],
                ["processor", f"{seen.cpu_per_gb:.2f} s for each GB", ""],
                ["from request to answer of a tiny copy, 20 ms away", f"{seen.boot:.2f} s", ""],
                [
                    "so the processor of a 1 GB function on Lambda can copy",
                    f"{_count(processor * 1000 / seen.cpu_per_gb)} MB/s",
                    "",
                ],
            ],
        )
        .replace(" |  |\n", " |\n")
        .replace("| |\n|---|--:|--:|", "|\n|---|--:|"),
        "links": _table(
            "link | 200 TB take at least",
            [[f"{link:g} Gbit/s", _hours(given.bytes * 8 / (link * 1e9))] for link in given.links],
        ),
        "shards": _table(
            "mean size of a file | files | trees | shards | seconds of each | bound by | "
            + " | ".join(f"{count} at once" for count in given.at_once),
            [
                [
                    f"{size / _MB:g} MB",
                    _count(plan.files),
                    str(plan.trees),
                    _count(plan.shards),
                    f"{plan.shard_seconds:.0f}",
                    plan.bound,
                    *(
                        _hours(math.ceil(plan.shards / count) * plan.shard_seconds)
                        for count in given.at_once
                    ),
                ]
                for size, plan in plans.items()
            ],
        ),
        "need": _table(
            "mean size of a file | at once | together | WebDAV calls a second",
            [
                [
                    f"{size / _MB:g} MB",
                    str(count),
                    f"{_count(count * _rate(plan, given) * 8 / 1e9)} Gbit/s",
                    _count(count * _rate(plan, given) / size),
                ]
                for size, plan in plans.items()
                for count in given.at_once
            ],
        ),
        "lambda": _table(
            "mean size of a file | GB-seconds | arm64 | x86_64 | requests | PUTs | "
            "out of AWS, if it leaves",
            [
                [
                    f"{size / _MB:g} MB",
                    _count(_gb_seconds(plan, given)),
                    f"{_count(_gb_seconds(plan, given) * given.gb_second_arm)} $",
                    f"{_count(_gb_seconds(plan, given) * given.gb_second_x86)} $",
                    f"{_count(plan.shards / 1e6 * given.million_requests)} $",
                    f"{_count(plan.files / 1000 * given.thousand_puts)} $",
                    f"{_count(leaving(given.bytes / _GB, given.out_tiers))} $",
                ]
                for size, plan in plans.items()
            ],
        ),
        "host": _host(seen, given),
    }


def _rate(plan: Reckoned, given: Assumed) -> float:
    """Bytes a second of one shard, on average."""
    return given.bytes / plan.shards / plan.shard_seconds


def _gb_seconds(plan: Reckoned, given: Assumed) -> float:
    return plan.shards * plan.shard_seconds * given.lambda_memory_gb


def _host(seen: Measures, given: Assumed) -> str:
    link = given.host_link * 1e9 / 8
    rows = []
    for size in given.sizes:
        files = given.bytes / size
        # As many transfers at a time as fill the link, if the servers bear it.
        seconds = given.bytes / link
        cores = link / _GB * seen.cpu_per_gb
        wanted = math.ceil(files / seconds / seen.files)
        share = seconds / (given.host_years * 365 * 86400) * given.host_price
        power = given.host_watts / 1000 * seconds / _HOUR * given.kilowatt_hour
        rows.append(
            [
                f"{size / _MB:g} MB",
                _hours(seconds),
                _count(files / seconds),
                str(max(wanted, math.ceil(link / seen.large))),
                f"{cores:.1f}",
                f"{share:.0f} + {power:.0f}",
            ]
        )
    return _table(
        "mean size of a file | at 10 Gbit/s | files a second | transfers at once | "
        "cores for the bytes | machine + power, $",
        rows,
    )


def _short(rows: list[dict[str, Any]]) -> str:
    """The README's rows: one where tuning helps, one where nothing can, one where it costs."""
    shown = [
        [
            f"{row['title']}, {row['way']}",
            report.number(row["columns"][DEFAULTS]["seconds"]),
            report.number(row["columns"][SERVICE]["seconds"]),
            f"{row['ratios'][SERVICE]:.2f}",
        ]
        for row in rows
        if row["round_trip_ms"] == 20 and row["row"] in SHORT
    ]
    return _table("20 ms away on each side | rclone copy | efss-transfer | ratio", shown)


def _memory(rows: list[dict[str, Any]]) -> str:
    bounds = sorted({row["memory_bound"] for row in rows if row["memory_bound"]})
    places = [
        (
            row["row"],
            row["round_trip_ms"],
            f"{row['title']}, {row['way']}, {row['round_trip_ms']} ms",
        )
        for row in rows
        if row["memory_bound"] == (bounds[0] if bounds else None)
    ]
    by = {(row["row"], row["round_trip_ms"], row["memory_bound"]): row for row in rows}
    shown = []
    for name, trip, told in places:
        cells = []
        for bound in bounds:
            row = by.get((name, trip, bound))
            if row is None:
                cells.append("")
            elif row["failed"]:
                cells.append("failed")
            else:
                peak = report.megabytes(row["columns"][SERVICE]["peak_bytes"])
                cells.append(peak if row["within"] else f"{peak}: beyond")
        shown.append([told, *cells])
    return _table("copied | " + " | ".join(f"of {bound >> 20} MiB" for bound in bounds), shown)


def filled(text: str, tables: Mapping[str, str]) -> str:
    """A document with its tables as they are now; each stands between two comments."""

    def one(found: re.Match[str]) -> str:
        return f"<!-- measured: {found[1]} -->\n\n{tables[found[1]]}\n<!-- end -->"

    return re.sub(r"<!-- measured: (\w+) -->\n.*?<!-- end -->", one, text, flags=re.DOTALL)


def plotted(found: Mapping[str, Any]) -> str:
    """The plot of it."""
    return report.plot(unbound(found), "Time as a ratio to rclone copy at its defaults")


def main() -> int:
    """Write tables and plot."""
    found = json.loads(MEASURED.read_text("utf-8"))
    tables = sections(found, Assumed())
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text("utf-8"), tables), "utf-8")
    PLOT.write_text(plotted(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
