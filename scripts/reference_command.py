"""The reference's page of the command: every command, its options, and the exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Final

import click

from efss_transfer.cli import main as cli_main
from reference_schemas import cell, slug

_INTRODUCTION: Final = (
    "Every command and option of `efss-transfer`, as `--help` prints them. "
    "[How to use it](../how-to/command.md) has an endpoints file, examples and shards. "
    "The exit codes are rclone's own where rclone has one."
)
EXIT_CODES: Final = {
    "0": "every selected file is at the destination",
    "1": "another error; `validate`, `site check`: the document is invalid; `check`: a step failed",
    "2": "wrong usage, an invalid endpoints file, or a request that does not fit the schema",
    "3": "nothing exists at the source's path",
    "4": "some listed files are missing at the source; all others were copied",
    "5": "a failure that can pass: a service or a storage is busy or unreachable",
    "6": "some files failed, and a retry cannot help",
    "7": "refused: token, policy, credentials, space, or the URL is not this service",
    "8": "more than the site allows a transfer to copy",
    "9": "no file had to be copied (only with `--error-on-no-transfer`); `status`: files are "
    "missing, and nothing copies them",
    "10": "the time ran out, and the copy was not resumed; `status`: the copy still runs",
    "130, 143": "cancelled by Ctrl-C or SIGTERM",
}


def command() -> str:
    """Every command as `--help` describes it, with defaults; and the exit codes."""
    found = list(_commands(cli_main.main, "efss-transfer"))
    parts = [
        "# The command",
        _INTRODUCTION,
        "\n".join(f"- [{name}](#{slug(name)})" for name in ("Exit codes", *dict(found))),
        _exit_codes(),
    ]
    for name, one in found:
        parts += [f"## {name}", *_described(name, one)]
    return "\n\n".join(parts) + "\n"


def _exit_codes() -> str:
    rows = ["| exit code | meaning |", "|---|---|"]
    rows += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["## Exit codes", "", *rows])


def _commands(one: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(one, click.Group):
        for called, below in one.commands.items():
            yield from _commands(below, f"{name} {called}")
    else:
        yield name, one


def _described(name: str, one: click.Command) -> Iterator[str]:
    context = click.Context(one, info_name=name)
    arguments = [it.make_metavar(context) for it in one.params if isinstance(it, click.Argument)]
    yield f"`{' '.join([name, '[OPTIONS]', *arguments])}`"
    # Some releases of click keep the indentation.
    for paragraph in re.split(r"\n\s*\n", cleandoc(one.help or "")):
        # Paragraphs marked with \b are examples, which click does not rewrap.
        if paragraph.startswith("\b"):
            title, *lines = [line.strip() for line in paragraph.splitlines()[1:]]
            shown = "\n".join(f"    {line}" for line in lines)
            yield f"{title}\n\n{shown}"
        else:
            yield " ".join(paragraph.split())
    rows = ["| option | default | meaning |", "|---|---|---|"]
    rows += [
        f"| {_spelling(option, context)} | {_default(option)} | {_help(option)} |"
        for option in one.params
        if isinstance(option, click.Option)
    ]
    if len(rows) > 2:
        yield "\n".join(rows)


def _spelling(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} " + cell("|".join(map(str, option.type.choices)))
    return f"{names} {cell(option.make_metavar(context))}"


def _default(option: click.Option) -> str:
    value = option.to_info_dict()["default"]
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return f"`{value}`" if plain else ""


def _help(option: click.Option) -> str:
    more = " May be given several times." if option.multiple else ""
    variable = f" Variable: `{option.envvar}`." if option.envvar else ""
    return cell((option.help or "") + more + variable)
