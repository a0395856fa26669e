"""The questions of `init`: each has a default, and what was given as an option is not asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from efss_transfer.cli.inputs import secret_from_file
from efss_transfer.cli.operator.answers import StorageAnswers, file_name, usual_parameters
from efss_transfer.contract import storage_types
from efss_transfer.contract.schemas import schema
from efss_transfer.model.result import Json

_COMMON: Final = ("webdav", "s3", "sftp", "ftp", "smb", "azureblob", "google cloud storage")
_IN_PLAIN_SIGHT: Final = (
    "A secret on the command line shows in the list of processes: give {name} as "
    '{{"file": "PATH"}} or {{"env": "NAME"}}, or leave it out and fill its file in later.'
)


def storage_of_option(text: str) -> StorageAnswers:
    """Parse NAME={"type": …, "parameters": {…}}. Raises BadParameter."""
    name, _, rest = text.partition("=")
    try:
        document = json.loads(rest)
        storage_type, parameters = str(document.pop("type")), dict(document.pop("parameters", {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.BadParameter(
            'Write NAME={"type": "webdav", "parameters": {"url": "https://…"}}, as in a site file.'
        ) from None
    _check_type(storage_type)
    secrets = {}
    for parameter in sorted(storage_types.secret_parameters(storage_type) & set(parameters)):
        secrets[parameter] = _secret(parameter, parameters.pop(parameter))
    if not secrets and not document.get("caller_parameters"):
        usual = usual_parameters(storage_type)
        secrets = dict.fromkeys(_secrets_in(storage_type, usual), "")
    return StorageAnswers(file_name(name), storage_type, parameters, secrets, document)


def ask_storages() -> Iterator[StorageAnswers]:
    """Ask for storages until a name is left empty."""
    click.echo("\nStorages that callers use by name. A name left empty ends the list.")
    while name := click.prompt("Storage's name", default="", show_default=False):
        yield _ask_storage(_again(file_name, name))


def _ask_storage(name: str) -> StorageAnswers:
    storage_type = click.prompt(
        f"  Type ({', '.join(_COMMON)}, …)", default="webdav", value_proc=_check_type
    )
    parameters: dict[str, Json] = {}
    secrets: dict[str, str] = {}
    usual = usual_parameters(storage_type)
    hidden = _secrets_in(storage_type, usual)
    for parameter, example in usual.items():
        if parameter in hidden:
            secrets[parameter] = click.prompt(
                f"  {parameter} (not shown; empty to fill its file in later)",
                default="",
                hide_input=True,
                show_default=False,
            )
        elif value := click.prompt(f"  {parameter}, such as {example}", default=""):
            parameters[parameter] = _value(storage_type, parameter, value)
    more: dict[str, Json] = {}
    if root := click.prompt("  Folder or bucket that callers cannot leave", default=""):
        more["root"] = root
    use = click.prompt(
        "  Use as", default="both", type=click.Choice(["source", "destination", "both"])
    )
    if use != "both":
        more["use"] = [use]
    return StorageAnswers(name, storage_type, parameters, secrets, more)


def _again(check: Any, text: str) -> str:
    try:
        return str(check(text))
    except click.BadParameter as error:
        click.echo(f"Error: {error.message}")
        return str(click.prompt("Storage's name", value_proc=check))


def _check_type(text: str) -> str:
    known = schema("site")["$defs"]["storage_type"]["enum"]
    if text not in known:
        raise click.BadParameter(f"{text!r} is no type of storage. Types: {', '.join(known)}.")
    return text


def _secrets_in(storage_type: str, names: Mapping[str, Any]) -> list[str]:
    return [name for name in names if name in storage_types.secret_parameters(storage_type)]


def _value(storage_type: str, parameter: str, text: str) -> Json:
    """A typed parameter as JSON, where it is no string."""
    kind = storage_types.parameters(storage_type)[parameter].get("type")
    if kind in ("integer", "number", "boolean"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _secret(name: str, reference: Any) -> str:
    match reference:
        case {"file": str(path)}:
            value = secret_from_file(Path(path))
        case {"env": str(variable)}:
            value = os.environ.get(variable, "")
        case _:
            raise click.BadParameter(_IN_PLAIN_SIGHT.format(name=name))
    if not value:
        [(kind, where)] = reference.items()
        raise click.BadParameter(f"The secret {name} from {kind} {where} is missing or empty.")
    return value
