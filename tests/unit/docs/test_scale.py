"""What the docs say of speed and cost is what was measured, and what follows from it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

import scale
from benchmark.rows import WORKLOADS
from scale import Assumed, Measures

FOUND = json.loads(scale.MEASURED.read_text("utf-8"))
SEEN = Measures(files=500, large=500e6, looked=5000, cpu_per_gb=2, boot=1)


@pytest.mark.parametrize("document", scale.DOCUMENTS, ids=lambda path: path.name)
def test_the_numbers_of_a_document_are_those_of_the_json(document: Path) -> None:
    text = document.read_text("utf-8")
    assert "<!-- measured: " in text
    assert scale.filled(text, scale.sections(FOUND, Assumed())) == text


def test_the_plot_is_that_of_the_json() -> None:
    assert scale.PLOT.read_text("utf-8") == scale.plotted(FOUND)


def test_what_is_told_as_assumed_is_what_is_reckoned_with() -> None:
    text = (scale.ROOT / "docs/scale.md").read_text("utf-8").partition("## Assumed")[2]
    given = Assumed()
    tiers = " ".join(f"{price:g}" for _, price in given.out_tiers).split()
    for value in (
        f"{given.lambda_rate / 1e6:.0f} MB/s",
        f"{given.invocation_seconds:.0f} s, {given.lambda_memory_gb:g} GB",
        f"{given.gb_second_x86:.10f} $ (x86_64), {given.gb_second_arm:.10f} $ (arm64)",
        f"{given.million_requests:.2f} $ for a million",
        f"{given.thousand_puts:g} $ for a thousand",
        f"{given.host_price:,.0f} $ over five years, {given.host_watts:.0f} W",
        f"{given.kilowatt_hour:.2f} $ for a kWh",
        *(f"{price} $" for price in tiers),
    ):
        assert value in text, value


def test_every_row_with_an_aim_was_measured_often_enough() -> None:
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


def test_no_row_fails_within_a_bound_of_memory() -> None:
    bounds = {512 << 20, 1 << 30, 2 << 30}
    rows = {(row["row"], row["memory_bound"]): row for row in FOUND["rows"] if row["memory_bound"]}
    names = {workload.name for workload in WORKLOADS if workload.usual}
    assert set(rows) == {(name, bound) for name in names for bound in bounds}
    assert all(row["within"] and not row["failed"] for row in rows.values())


def test_shards_are_bound_by_bytes_or_by_files() -> None:
    given = Assumed()
    large = scale.reckoned(100e6, 70e6, SEEN, given)
    small = scale.reckoned(1e4, 70e6, SEEN, replace(given, bytes=1e12))
    assert (large.bound, small.bound) == ("bytes", "files")
    # Two million files: looked at in 400 s, and each shard has 630 s less that and the boot.
    assert (large.trees, large.files) == (2, 2e6)
    assert large.shards == 2 * math.ceil(200e12 / 70e6 / 2 / (900 * 0.7 - 1 - 200))
    assert large.shard_seconds <= 900 * 0.7


def test_no_shard_takes_longer_than_an_invocation_has() -> None:
    for size in (1e4, 1e5, 1e6, 1e7, 1e9):
        plan = scale.reckoned(size, 70e6, SEEN, Assumed())
        assert 0 < plan.shard_seconds <= 900 * 0.7 + 0.001


def test_what_leaves_is_paid_by_tiers() -> None:
    tiers = ((10, 0.09), (50, 0.085), (math.inf, 0.05))
    assert scale.leaving(10, tiers) == pytest.approx(0.9)
    assert scale.leaving(100, tiers) == pytest.approx(0.9 + 3.4 + 2.5)


def test_a_table_is_replaced_and_what_stands_around_it_is_kept() -> None:
    text = "a\n<!-- measured: bench -->\nold\n<!-- end -->\nb\n"
    once = scale.filled(text, {"bench": "new\n"})
    assert re.findall("old|new", once) == ["new"]
    assert once.startswith("a\n")
    assert once.endswith("\nb\n")
    assert scale.filled(once, {"bench": "new\n"}) == once
