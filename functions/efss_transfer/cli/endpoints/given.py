"""What the options of `endpoints add` say of an endpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from efss_transfer.cli.endpoints.draft import Draft, Invalid
from efss_transfer.cli.endpoints.presets import PATH, Question
from efss_transfer.cli.inputs import read_input


@dataclass(frozen=True)
class Given:
    """The options: `texts` are those with one value, by their names."""

    texts: Mapping[str, str | None]
    settings: Sequence[str] = ()
    secret_files: Sequence[str] = ()
    secret_commands: Sequence[str] = ()
    secret_variables: Sequence[str] = ()


def fill(draft: Draft, given: Given) -> None:
    """Put what was given into a draft. Raises Invalid, which names the option."""
    for option, parameter, text in _values(draft, given):
        try:
            draft.set(parameter, text)
        except Invalid as error:
            raise Invalid(f"{option}: {error}") from None
    for option, kind, sources in (
        ("--secret-file", "file", given.secret_files),
        ("--secret-command", "command", given.secret_commands),
        ("--secret-env", "env", given.secret_variables),
    ):
        for source in sources:
            parameter, text = _parted(draft, option, source)
            try:
                if kind != "file":
                    draft.refer(parameter, kind, text)
                else:
                    draft.set(parameter, _content(text))
            except Invalid as error:
                raise Invalid(f"{option} {parameter}: {error}") from None


def missing(draft: Draft) -> list[str]:
    """Return the options that would give what is still needed."""
    return [
        _option(draft, question)
        for question in draft.open_questions()
        if question.is_required and question.parameter not in draft.suggested
    ]


def _values(draft: Draft, given: Given) -> Iterator[tuple[str, str, str]]:
    """Yield option, parameter and text of what is no secret. Raises Invalid."""
    for setting in given.settings:
        parameter, found, text = setting.partition("=")
        if not found:
            raise Invalid("--set: must be PARAMETER=VALUE.")
        if draft.is_secret(parameter):
            raise Invalid(
                f"--set: {parameter} is a secret, which other users could see in the list of "
                f"processes. Use --secret-file {parameter}=FILE, or - for stdin."
            )
        yield f"--set {parameter}", parameter, text
    options = {"address": draft.preset.address, "user": "user", "folder": PATH}
    for option, meant in options.items():
        value = given.texts.get(option)
        if value is None:
            continue
        if meant is None:
            raise Invalid(f"--{option}: {draft.preset.type} has no address.")
        yield f"--{option}", meant, value


def _parted(draft: Draft, option: str, source: str) -> tuple[str, str]:
    """Return the parameter and the rest of `[PARAMETER=]REST`. Raises Invalid."""
    parameter, found, text = source.partition("=")
    if found and draft.is_secret(parameter):
        return parameter, text
    if draft.preset.secret is None:
        raise Invalid(f"{option}: say which secret it is: PARAMETER=…")
    return draft.preset.secret, source


def _content(file: str) -> str:
    """Return a file's content without the line end that editors append."""
    if file == "-" and sys.stdin.isatty():
        # A terminal would show what is typed.
        return str(click.prompt("Secret (not shown)", hide_input=True, err=True))
    try:
        return read_input(file).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Invalid("is not UTF-8 text.") from None


def _option(draft: Draft, question: Question) -> str:
    parameter = question.parameter
    if parameter == draft.preset.address:
        return "--address URL"
    if parameter == "user":
        return "--user NAME"
    if draft.is_secret(parameter):
        return f"--secret-file {parameter}=FILE"
    return f"--set {parameter}=VALUE"
