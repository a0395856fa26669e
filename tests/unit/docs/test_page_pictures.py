"""docs/how-to/page.md shows each state of the page, and the pictures stay small."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
STATES = ("empty", "checked", "browsing", "running", "done", "failed")


def test_each_state_is_shown_in_both_widths_and_colour_schemes() -> None:
    text = (DOCS / "how-to" / "page.md").read_text("utf-8")
    shown = set(re.findall(r"\]\(\.\./page/([\w.-]+)\)", text))
    wanted = {
        f"{state}-{width}-{scheme}.webp"
        for state, width, scheme in product(STATES, (390, 1280), ("light", "dark"))
    }
    assert shown == wanted == {file.name for file in (DOCS / "page").iterdir()}


def test_pictures_are_small() -> None:
    sizes = [file.stat().st_size for file in (DOCS / "page").iterdir()]
    assert all(1_000 < size < 100_000 for size in sizes)
    assert sum(sizes) < 1_500_000
