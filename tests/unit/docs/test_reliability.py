"""The page about reliability shows the figures of `scripts/faults` that are kept, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
FIGURES: Final = json.loads((ROOT / "docs/faults.json").read_text("utf-8"))
PAGE: Final = (ROOT / "docs/reliability.md").read_text("utf-8")


def test_page_shows_the_figures_that_are_kept() -> None:
    table = PAGE.partition("<!-- figures of scripts/faults -->")[2].partition("<!-- end -->")[0]
    (head, *rows) = re.findall(r"^\| (.+) \|$", table, re.MULTILINE)
    names = [name.replace(" ", "_") for name in head.split(" | ")[1:]]
    shown = {cells[0]: cells[1:] for cells in (row.split(" | ") for row in rows)}
    for fault, figures in FIGURES["faults"].items():
        assert shown.pop(fault) == [str(figures[name]) for name in names]
    (generated,) = shown.values()
    assert generated[:2] == [str(FIGURES["generated"][name]) for name in names[:2]]


def test_no_success_was_wrong() -> None:
    rows = [*FIGURES["faults"].values(), FIGURES["generated"]]
    assert all(row["runs"] for row in rows)
    assert [row["wrong_successes"] for row in rows] == [0] * len(rows)
