"""Writes docs/reference from what the project itself reads: schemas, settings, codes, command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Final

import click

from efss_transfer.cli import main as cli_main
from efss_transfer.client import errors
from efss_transfer.config.settings import PREFIX, Settings
from efss_transfer.contract import schemas
from efss_transfer.model.errors import CODES, ConfigurationError
from reference_schemas import cell, page, slug, storages

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "docs" / "reference"
_MADE: Final = (
    "<!-- Made by scripts/reference: change what it is made of, and run that again. -->\n\n"
)
_SETTINGS: Final = (
    "Variables of the function's environment, read once, at start. A value that cannot be used, "
    f"and a name that begins with `{PREFIX}` and is none of these, stop the start with a line that "
    "says so. Durations are seconds, sizes are bytes."
)
_OF_THE_COMMAND: Final = (
    f"Of the command, and not of the function: `{PREFIX}URL`, `{PREFIX}TOKEN` and "
    f"`{PREFIX}ENDPOINTS`, see [command](command.md)."
)
_CODES: Final = (
    "Of a [problem](problem.md), and of the errors in a [result](result.md). With each of them it "
    "is safe to send the same request again: what has arrived is skipped. Whether that can help, "
    "`retryable` says; a problem's own wins over this table, because it knows the case."
)
_COMMAND: Final = (
    "What `efss-transfer` and its commands take. `--help` of each tells the same. The exit codes "
    "are in the [README](../../README.md#the-command)."
)
_TITLES: Final = {
    "request": "What to copy, and where to.",
    "result": "How a transfer ended.",
    "event": "A line of the stream.",
    "problem": "Why there is no success.",
    "plan-request": "What is sent to `/plan`.",
    "plan": "What a transfer would take.",
    "site": "What a site allows, and who may call.",
}


def pages() -> dict[str, str]:
    """The content of every page, by its name."""
    made = {f"{name}.md": page(name) for name in schemas.NAMES}
    made |= {
        "storages.md": storages(),
        "settings.md": settings(),
        "codes.md": codes(),
        "command.md": command(),
    }
    made["README.md"] = index()
    return {name: _MADE + text for name, text in made.items()}


def index() -> str:
    """The first page."""
    lines = [f"- [{name}]({name}.md): {_TITLES[name]}" for name in schemas.NAMES]
    lines += [
        "- [storages](storages.md): every type of storage, and its parameters.",
        "- [settings](settings.md): the variables of the function's environment.",
        "- [codes](codes.md): every error code, its status, and whether a retry can help.",
        "- [command](command.md): `efss-transfer`, every option and its default.",
    ]
    return "# Reference\n\n" + "\n".join(lines) + "\n"


def settings() -> str:
    """The README's table, and what the function itself says that a value may be."""
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| ([^|]*) \| (.*) \|$", readme, re.MULTILINE)
    lines = [
        "# Settings",
        "",
        _SETTINGS,
        "",
        "| variable | default | may be | meaning |",
        "|---|---|---|---|",
    ]
    for name, default, meaning in rows:
        lines.append(f"| `{PREFIX}{name}` | {default} | {_allowed(name)} | {meaning} |")
    lines += [
        "",
        _OF_THE_COMMAND,
    ]
    return "\n".join(lines) + "\n"


def _allowed(name: str) -> str:
    """What the function answers to a value that cannot be one."""
    try:
        Settings.read({PREFIX + name: "\0"})
    except ConfigurationError as error:
        return str(error).partition(" must be ")[2].removesuffix(".")
    return "a text"


def codes() -> str:
    """Every code that a problem, an error in a result, or the Python client may have."""
    classes = {it.code: it for it in _errors(errors.ClientError)}
    lines = [
        "# Codes",
        "",
        _CODES,
        "",
        "| code | status | retryable | meaning | in Python |",
        "|---|---|---|---|---|",
    ]
    for name, code in CODES.items():
        known = classes[name]
        text = cell(" ".join((known.__doc__ or code.title).split()))
        retry = "yes" if code.retryable else "no"
        lines.append(f"| `{name}` | {code.status} | {retry} | {text} | `{known.__name__}` |")
    lines += [
        "",
        "`cancelled` is what nobody reads who has hung up; 499 stands in the log.",
        "",
        "The Python client and the command have three more, of what is no answer of the service's:",
        "",
        "| code | meaning | in Python |",
        "|---|---|---|",
    ]
    for name, known in classes.items():
        if name not in CODES:
            text = cell(" ".join((known.__doc__ or "").split()))
            lines.append(f"| `{name}` | {text} | `{known.__name__}` |")
    return "\n".join(lines) + "\n"


def _errors(
    root: type[errors.ClientError],
) -> Iterator[type[errors.ClientError]]:
    """The classes that have a code of their own."""
    for one in root.__subclasses__():
        if "code" in vars(one):
            yield one
        yield from _errors(one)


def command() -> str:
    """What `--help` knows, and the defaults; the exit codes stand in the README."""
    found = list(_commands(cli_main.main, "efss-transfer"))
    parts = [
        "# The command",
        _COMMAND,
        "\n".join(f"- [{name}](#{slug(name)})" for name, _ in found),
    ]
    for name, one in found:
        parts += [f"## {name}", *_described(name, one)]
    return "\n\n".join(parts) + "\n"


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
    # Not every release of click takes the indentation away.
    for paragraph in re.split(r"\n\s*\n", cleandoc(one.help or "")):
        # Where click is told to leave the lines as they are, examples stand.
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


def main() -> None:
    """Write them, and take away what is no longer made."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = pages()
    for file in FOLDER.glob("*.md"):
        if file.name not in made:
            file.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, "utf-8")
    print(f"docs/reference: {len(made)} pages")


if __name__ == "__main__":
    main()
