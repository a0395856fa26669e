"""The examples that the command's help shows."""

from __future__ import annotations

from collections.abc import Iterator

import click

from efss_transfer.cli import main


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, with the words that name it."""
    yield before, group
    for called, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, called)
        else:
            yield (*before, called), command


def examples() -> list[str]:
    """Every command line that help shows; those of the documents are run with their pages."""
    shown = [
        line.strip()
        for _, command in commands(main.main)
        for line in (command.help or "").splitlines()
        if line.strip().startswith("efss-transfer ")
    ]
    # deploy/README.md has it for any site file.
    shown.append("efss-transfer site check deploy/site.example.json")
    return list(dict.fromkeys(shown))


def needs_grid_storages(example: str) -> bool:
    """Whether an example is for storages that copy between themselves."""
    return " --engine " in example
