"""A Dockerfile's instructions, read as an engine reads them, for files without here-documents."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path


def instructions(file: Path) -> list[tuple[str, str]]:
    """Each instruction's name and argument; comments are gone, lines are joined."""
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = []
    for line in filter(None, joined.splitlines()):
        name, _, argument = line.partition(" ")
        found.append((name, argument.strip()))
    return found


def stages(file: Path) -> list[list[tuple[str, str]]]:
    """The instructions of each stage, which FROM begins; those before the first are left out."""
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions(file):
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def command(argument: str) -> list[str]:
    """The words of a command in exec form, which starts no shell. Raises ValueError for another."""
    words = json.loads(argument[argument.index("[") :])
    if not all(isinstance(word, str) for word in words):
        raise ValueError(argument)
    return [str(word) for word in words]


def variables(stage: list[tuple[str, str]]) -> dict[str, str]:
    """What ENV sets."""
    pairs = [word for name, text in stage if name == "ENV" for word in shlex.split(text)]
    return dict(pair.split("=", 1) for pair in pairs)
