"""Calculates time and cost of copying 200 TB from the results of scripts/bench.

    scripts/bench --save docs/bench.json     # measure
    .venv/bin/python scripts/scale.py        # write the tables into docs/ and README.md

Every assumption is in scale_model.py, with its source; all other numbers are measured
(docs/bench.json).
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmark import report
from benchmark.rows import DEFAULTS, SERVICE
from scale_model import (
    GB,
    MB,
    Assumptions,
    Measures,
    ScalePlan,
    egress_cost,
    measures,
    plan_shards,
    unlimited,
)

ROOT: Final = Path(__file__).parents[1]
MEASURED: Final = ROOT / "docs/bench.json"
PLOT: Final = ROOT / "docs/bench.svg"
DOCUMENTS: Final = (ROOT / "docs/bench.md", ROOT / "docs/scale.md", ROOT / "README.md")
SHORT: Final = ("small-to-s3", "large", "sixteen")

Plans = Mapping[float, ScalePlan]
_HOUR: Final = 3600.0


def _table(head: str, rows: list[list[str]]) -> str:
    columns = head.count("|") + 1
    lines = [f"| {head} |", "|---" + "|--:" * (columns - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _count(number: float) -> str:
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"


def _hours(seconds: float) -> str:
    hours = seconds / _HOUR
    return f"{hours:.0f} h" if hours < 96 else f"{_count(hours / 24)} days"


def sections(found: Mapping[str, Any], assumed: Assumptions) -> dict[str, str]:
    """All tables in the documents, by name."""
    measured = measures(found)
    rows = unlimited(found)
    plans = {
        size: plan_shards(size, assumed.lambda_rate, measured, assumed) for size in assumed.sizes
    }
    return {
        "machine": _machine(found, rows),
        "bench": report.markdown(rows),
        "apart": report.markdown([row for row in found["rows"] if row["apart"]]),
        "short": _short(rows),
        "memory": _memory(found["rows"]),
        "measured": _measured(measured, assumed),
        "links": _table(
            "link | 200 TB take at least",
            [
                [f"{link:g} Gbit/s", _hours(assumed.bytes * 8 / (link * 1e9))]
                for link in assumed.links
            ],
        ),
        "shards": _shards(plans, assumed),
        "need": _need(plans, assumed),
        "lambda": _lambda(plans, assumed),
        "host": _host(measured, assumed),
    }


def _machine(found: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    machine = found["machine"]
    loads = [load for row in rows for load in row["load"]]
    return (
        f"Measured on {found['date']} with {machine['processors']} processors "
        f"({machine['processor']}), {machine['memory_bytes'] / (1 << 30):.0f} GiB, "
        f"{machine['system']}, servers and proxies on the same machine, and nothing else; load "
        f"{min(loads):.1f} to {max(loads):.1f}, caused by the copies themselves.\n"
    )


def _measured(measured: Measures, assumed: Assumptions) -> str:
    cpus = assumed.lambda_memory_gb / assumed.lambda_gb_per_cpu
    table = _table(
        "one transfer | |",
        [
            ["small files, WebDAV to S3, 20 ms away", f"{_count(measured.files)} a second", ""],
            ["one large file, 0 ms away", f"{_count(measured.large / MB)} MB/s", ""],
            ["listing files, 20 ms away", f"{_count(measured.listed)} a second", ""],
            ["processor", f"{measured.cpu_per_gb:.2f} s for each GB", ""],
            ["from request to answer of a tiny copy, 20 ms away", f"{measured.boot:.2f} s", ""],
            [
                "so the processor of a 1 GB function on Lambda can copy",
                f"{_count(cpus * 1000 / measured.cpu_per_gb)} MB/s",
                "",
            ],
        ],
    )
    # Two columns: drop the third, empty one.
    return table.replace(" |  |\n", " |\n").replace("| |\n|---|--:|--:|", "|\n|---|--:|")


def _shards(plans: Plans, assumed: Assumptions) -> str:
    return _table(
        "mean size of a file | files | trees | shards | seconds of each | bound by | "
        + " | ".join(f"{count} at once" for count in assumed.parallel),
        [
            [
                f"{size / MB:g} MB",
                _count(plan.files),
                str(plan.trees),
                _count(plan.shards),
                f"{plan.shard_seconds:.0f}",
                plan.bound,
                *(
                    _hours(math.ceil(plan.shards / count) * plan.shard_seconds)
                    for count in assumed.parallel
                ),
            ]
            for size, plan in plans.items()
        ],
    )


def _need(plans: Plans, assumed: Assumptions) -> str:
    return _table(
        "mean size of a file | at once | together | WebDAV calls a second",
        [
            [
                f"{size / MB:g} MB",
                str(count),
                f"{_count(count * _rate(plan, assumed) * 8 / 1e9)} Gbit/s",
                _count(count * _rate(plan, assumed) / size),
            ]
            for size, plan in plans.items()
            for count in assumed.parallel
        ],
    )


def _lambda(plans: Plans, assumed: Assumptions) -> str:
    return _table(
        "mean size of a file | GB-seconds | arm64 | x86_64 | requests | PUTs | "
        "out of AWS, if it leaves",
        [
            [
                f"{size / MB:g} MB",
                _count(_gb_seconds(plan, assumed)),
                f"{_count(_gb_seconds(plan, assumed) * assumed.gb_second_arm)} $",
                f"{_count(_gb_seconds(plan, assumed) * assumed.gb_second_x86)} $",
                f"{_count(plan.shards / 1e6 * assumed.million_requests)} $",
                f"{_count(plan.files / 1000 * assumed.thousand_puts)} $",
                f"{_count(egress_cost(assumed.bytes / GB, assumed.out_tiers))} $",
            ]
            for size, plan in plans.items()
        ],
    )


def _rate(plan: ScalePlan, assumed: Assumptions) -> float:
    """Average bytes a second of one shard."""
    return assumed.bytes / plan.shards / plan.shard_seconds


def _gb_seconds(plan: ScalePlan, assumed: Assumptions) -> float:
    return plan.shards * plan.shard_seconds * assumed.lambda_memory_gb


def _host(measured: Measures, assumed: Assumptions) -> str:
    link = assumed.host_link * 1e9 / 8
    rows = []
    for size in assumed.sizes:
        files = assumed.bytes / size
        # As many concurrent transfers as fill the link, if the servers can handle them.
        seconds = assumed.bytes / link
        cores = link / GB * measured.cpu_per_gb
        concurrent = math.ceil(files / seconds / measured.files)
        share = seconds / (assumed.host_years * 365 * 86400) * assumed.host_price
        power = assumed.host_watts / 1000 * seconds / _HOUR * assumed.kilowatt_hour
        rows.append(
            [
                f"{size / MB:g} MB",
                _hours(seconds),
                _count(files / seconds),
                str(max(concurrent, math.ceil(link / measured.large))),
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
    workloads = [
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
    for name, trip, label in workloads:
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
        shown.append([label, *cells])
    return _table("copied | " + " | ".join(f"of {bound >> 20} MiB" for bound in bounds), shown)


def fill(text: str, tables: Mapping[str, str]) -> str:
    """A document with updated tables; each table is between two comments."""

    def one(found: re.Match[str]) -> str:
        return f"<!-- measured: {found[1]} -->\n\n{tables[found[1]]}\n<!-- end -->"

    return re.sub(r"<!-- measured: (\w+) -->\n.*?<!-- end -->", one, text, flags=re.DOTALL)


def plot(found: Mapping[str, Any]) -> str:
    """The plot as SVG."""
    return report.plot(unlimited(found), "Time as a ratio to rclone copy at its defaults")


def main() -> int:
    """Write the tables and the plot."""
    found = json.loads(MEASURED.read_text("utf-8"))
    tables = sections(found, Assumptions())
    for document in DOCUMENTS:
        document.write_text(fill(document.read_text("utf-8"), tables), "utf-8")
    PLOT.write_text(plot(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
