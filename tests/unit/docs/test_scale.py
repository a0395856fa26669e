"""The numbers in the docs are those in docs/bench.json, and what scripts/scale.py derives."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

import scale
from benchmark.rows import WORKLOADS
from scale_model import Assumptions, Measures, egress_cost, plan_shards

FOUND = json.loads(scale.MEASURED.read_text("utf-8"))
MEASURED = Measures(files=500, large=500e6, listed=5000, cpu_per_gb=2, boot=1)


@pytest.mark.parametrize("document", scale.DOCUMENTS, ids=lambda path: path.name)
def test_tables_in_the_documents_match_the_json(document: Path) -> None:
    text = document.read_text("utf-8")
    assert "<!-- measured: " in text
    assert scale.fill(text, scale.sections(FOUND, Assumptions())) == text


def test_plot_matches_the_json() -> None:
    assert scale.PLOT.read_text("utf-8") == scale.plot(FOUND)


def test_documented_assumptions_match_the_code() -> None:
    text = (scale.ROOT / "docs/scale.md").read_text("utf-8").partition("## Assumed")[2]
    assumed = Assumptions()
    tiers = " ".join(f"{price:g}" for _, price in assumed.out_tiers).split()
    for value in (
        f"{assumed.lambda_rate / 1e6:.0f} MB/s",
        f"{assumed.invocation_seconds:.0f} s, {assumed.lambda_memory_gb:g} GB",
        f"{assumed.gb_second_x86:.10f} $ (x86_64), {assumed.gb_second_arm:.10f} $ (arm64)",
        f"{assumed.million_requests:.2f} $ for a million",
        f"{assumed.thousand_puts:g} $ for a thousand",
        f"{assumed.host_price:,.0f} $ over five years, {assumed.host_watts:.0f} W",
        f"{assumed.kilowatt_hour:.2f} $ for a kWh",
        *(f"{price} $" for price in tiers),
    ):
        assert value in text, value


def test_every_row_with_an_aim_was_measured_in_three_rounds() -> None:
    unbound = [row for row in FOUND["rows"] if row["memory_bound"] is None]
    rows = {(row["row"], row["round_trip_ms"]): row for row in unbound}
    for name, trip in (
        ("small-to-s3", 20),
        ("small-to-webdav", 20),
        ("again", 20),
        ("large", 20),
        ("held", 20),
        ("tiny", 20),
    ):
        row = rows[name, trip]
        assert row["rounds"] >= 3, name
        assert row["aim"] is not None
        for column in row["columns"].values():
            assert len(column["all_seconds"]) == row["rounds"]


def test_every_row_keeps_to_each_memory_limit() -> None:
    bounds = {512 << 20, 1 << 30, 2 << 30}
    rows = {(row["row"], row["memory_bound"]): row for row in FOUND["rows"] if row["memory_bound"]}
    names = {workload.name for workload in WORKLOADS if workload.default}
    assert set(rows) == {(name, bound) for name in names for bound in bounds}
    assert all(row["within"] and not row["failed"] for row in rows.values())


def test_shards_are_limited_by_bytes_or_by_files() -> None:
    assumed = Assumptions()
    large = plan_shards(100e6, 70e6, MEASURED, assumed)
    small = plan_shards(1e4, 70e6, MEASURED, replace(assumed, bytes=1e12))
    assert (large.bound, small.bound) == ("bytes", "files")
    # Two million files: listed in 400 s; each shard has 630 s minus that and the boot.
    assert (large.trees, large.files) == (2, 2e6)
    assert large.shards == 2 * math.ceil(200e12 / 70e6 / 2 / (900 * 0.7 - 1 - 200))
    assert large.shard_seconds <= 900 * 0.7


def test_no_shard_exceeds_an_invocation() -> None:
    for size in (1e4, 1e5, 1e6, 1e7, 1e9):
        plan = plan_shards(size, 70e6, MEASURED, Assumptions())
        assert 0 < plan.shard_seconds <= 900 * 0.7 + 0.001


def test_egress_cost_is_tiered() -> None:
    tiers = ((10, 0.09), (50, 0.085), (math.inf, 0.05))
    assert egress_cost(10, tiers) == pytest.approx(0.9)
    assert egress_cost(100, tiers) == pytest.approx(0.9 + 3.4 + 2.5)


def test_table_is_replaced_and_its_surroundings_are_kept() -> None:
    text = "a\n<!-- measured: bench -->\nold\n<!-- end -->\nb\n"
    once = scale.fill(text, {"bench": "new\n"})
    assert re.findall("old|new", once) == ["new"]
    assert once.startswith("a\n")
    assert once.endswith("\nb\n")
    assert scale.fill(once, {"bench": "new\n"}) == once
