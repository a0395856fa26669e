"""docs/design.md quotes the workflow exactly as the engine runs it."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

from support.doc_blocks import blocks

ROOT = Path(__file__).parents[3]
DESIGN = ROOT / "docs" / "design.md"
ENGINE = ROOT / "functions" / "efss_transfer" / "engines" / "rclone" / "engine.py"
SCREEN = 40
STEPS = ("boot_daemon", "create_remote", "create_remote", "copy", "result")


def function(file: Path, name: str) -> tuple[str, ast.FunctionDef]:
    """The source of a method, without its indentation, and its tree."""
    source = file.read_text("utf-8")
    (node,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    return textwrap.dedent("\n".join(lines)), node


def test_design_quotes_run_exactly() -> None:
    (quote,) = (block for block in blocks(DESIGN) if block.marks.get("quote") == ENGINE.name)
    assert quote.content.rstrip("\n") == function(ENGINE, "run")[0]


def test_run_fits_on_one_screen() -> None:
    assert len(function(ENGINE, "run")[0].splitlines()) <= SCREEN


def test_run_has_the_steps_of_the_workflow_in_their_order() -> None:
    calls = [
        (node.lineno, node.func.attr)
        for node in ast.walk(function(ENGINE, "run")[1])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert tuple(name for _, name in sorted(calls) if name in STEPS) == STEPS
