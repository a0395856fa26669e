"""What real servers were seen to do is tested, each row by a test that names it."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from support.field_case_marks import ROWS, marks

NOT_SHOWN: Final = frozenset({"L4"})
"""Rows that no test shows yet. L4 is a measurement: see `scripts/bench --server`."""
_VARIANTS: Final = 2
MARKS: Final = tuple(marks())


def test_marks_name_rows() -> None:
    unknown = [mark for mark in MARKS if not mark.rows or set(mark.rows) - ROWS.keys()]
    assert not unknown


def test_every_row_is_shown_but_those_that_are_named() -> None:
    assert ROWS.keys() - {row for mark in MARKS for row in mark.rows} == NOT_SHOWN


def test_every_kind_is_tried_in_variants_that_nobody_has_seen() -> None:
    """A kind is closed if what its rows do not say is right, too."""
    variants: defaultdict[str, set[str]] = defaultdict(set)
    for mark in MARKS:
        for row in mark.rows:
            variants[row[0]].update(filter(None, [mark.variant]))
    kinds = {row[0] for row in ROWS}
    assert {kind for kind in kinds if len(variants[kind]) < _VARIANTS} == set()
