"""Ask a person at the terminal for what is still unknown of an endpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from efss_transfer.cli.endpoints.draft import Draft, Invalid
from efss_transfer.cli.endpoints.presets import PRESETS, Preset, Question, UnknownKind, preset_of


def can_ask() -> bool:
    """Return whether a person sits there."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_kind() -> Preset:
    """Ask for the kind of storage."""
    for number, preset in enumerate(PRESETS, 1):
        click.echo(f"{number:3}  {preset.title}", err=True)
    while True:
        text = click.prompt("Kind of storage: a number, or a type such as ftp", err=True).strip()
        if text.isdecimal() and 1 <= int(text) <= len(PRESETS):
            return PRESETS[int(text) - 1]
        try:
            return preset_of(text)
        except UnknownKind as error:
            click.echo(str(error), err=True)


def ask_all(draft: Draft) -> None:
    """Ask every open question."""
    while questions := draft.open_questions():
        _ask(draft, questions[0])


def _ask(draft: Draft, question: Question) -> None:
    is_hidden = draft.is_secret(question.parameter) and not question.is_file
    if is_hidden and (page := draft.app_passwords()) is not None:
        click.echo(f"Make an app password at {page}", err=True)
    suggested = draft.suggested.get(question.parameter)
    default = suggested if suggested or question.is_required else ""
    while True:
        text = click.prompt(
            f"{question.text} (not shown)" if is_hidden else question.text,
            hide_input=is_hidden,
            default=default,
            show_default=bool(default),
            err=True,
        )
        if not text.strip():
            draft.skip(question)
            return
        try:
            if question.is_file:
                draft.refer(question.parameter, "file", str(_absolute(text.strip())))
            else:
                draft.set(question.parameter, text if is_hidden else text.strip())
        except Invalid as error:
            click.echo(str(error), err=True)
            continue
        return


def _absolute(text: str) -> Path | str:
    """Return a path that means the same in every folder."""
    return text if text.startswith("~") else Path(text).absolute()
