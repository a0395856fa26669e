"""What real servers were seen to do is tested, each row by a test that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
NOT_SHOWN: Final = frozenset({"L4"})
"""Rows that no test shows yet. L4 is a measurement: see `scripts/bench --server`."""
ROWS: Final = json.loads((ROOT / "tests/field_cases.json").read_text("utf-8"))


def marked() -> Iterator[tuple[str, str]]:
    """Each row that a test names by its mark, and the test's file."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for arguments in re.findall(r"mark\.field_case\(([^)]*)\)", path.read_text("utf-8")):
            for row in re.findall(r'"([^"]*)"', arguments):
                yield row, path.name


def test_marks_name_rows() -> None:
    unknown = [(row, name) for row, name in marked() if row not in ROWS]
    assert not unknown


def test_every_row_is_shown_but_those_that_are_named() -> None:
    assert ROWS.keys() - {row for row, _ in marked()} == NOT_SHOWN
