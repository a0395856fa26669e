"""The tests that name rows of field_cases.json by their marks, as a matrix.

python tests/support/field_case_marks.py

A test with `variant` tries what the row does not say: another backend, status or spelling.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
ROWS: Final[dict[str, str]] = json.loads((TESTS / "field_cases.json").read_text("utf-8"))


@dataclass(frozen=True)
class Mark:
    """A mark: the rows that a test shows, the variant that it tries, and the test."""

    rows: tuple[str, ...]
    variant: str
    test: str


def marks() -> Iterator[Mark]:
    """All marks, in the order of the files."""
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "field_case(" in text:
            for node in ast.parse(text).body:
                yield from _of(node, path.relative_to(TESTS))


def _of(node: ast.stmt, path: Path) -> Iterator[Mark]:
    if isinstance(node, ast.FunctionDef):
        within, test = node.decorator_list, f"{path}::{node.name}"
    elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
        within, test = [node.value], str(path)
    else:
        return
    for call in (one for part in within for one in ast.walk(part)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("field_case"):
            rows = tuple(ast.literal_eval(row) for row in call.args)
            variant = "".join(ast.literal_eval(more.value) for more in call.keywords)
            yield Mark(rows, variant, test)


def main() -> None:
    """Print a row of Markdown for each test of each row."""
    found = list(marks())
    print("| row | what servers do | variant | test |\n|---|---|---|---|")
    for row, what in ROWS.items():
        for mark in found:
            if row in mark.rows:
                print(f"| {row} | {what} | {mark.variant} | `{mark.test}` |")


if __name__ == "__main__":
    main()
