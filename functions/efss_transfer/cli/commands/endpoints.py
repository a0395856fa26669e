"""`efss-transfer endpoints`: list, add, test and remove the endpoints of the user's file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from efss_transfer.cli import endpoints_file
from efss_transfer.cli.commands.check import check
from efss_transfer.cli.endpoints_file import InvalidEndpoints
from efss_transfer.cli.formatting import printable
from efss_transfer.cli.request_options import ENDPOINTS_OPTION
from efss_transfer.config.environment import PREFIX
from efss_transfer.model.suggestions import did_you_mean

if TYPE_CHECKING:
    from efss_transfer.cli.endpoints.draft import Draft
    from efss_transfer.cli.endpoints.store import Store

_NONE_YET = "No endpoints yet: efss-transfer endpoints add NAME"


@click.group()
def endpoints() -> None:
    """List, add, test and remove your endpoints, the storages that NAME:PATH refers to."""


@endpoints.command("list")
@ENDPOINTS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as JSON.")
def list_endpoints(endpoints: Path | None, as_json: bool) -> None:
    """List your endpoints: name, type, address, and where each secret is read from.

    No secret is shown.

    \b
    Example:
      efss-transfer endpoints list
    """
    from efss_transfer.cli.endpoints.description import described, rows
    from efss_transfer.cli.endpoints.store import Store, shown

    store = Store(endpoints)
    with _usage_errors():
        entries = store.entries()
    found = [described(name, entry) for name, entry in entries.items()]
    if as_json:
        click.echo(json.dumps({"file": str(store.file), "endpoints": found}, ensure_ascii=False))
    elif found:
        for line in rows(found):
            click.echo(printable(line))
    else:
        click.echo(f"{shown(store.file)}: {_NONE_YET}", err=True)


@endpoints.command("add")
@click.argument("name")
@ENDPOINTS_OPTION
@click.option(
    "--kind",
    metavar="KIND",
    help="nextcloud, owncloud, ocis, aws, ceph, minio, s3, sftp, webdav, or another storage type.",
)
@click.option(
    "--address",
    metavar="URL",
    help="The storage's address. For Nextcloud, ownCloud and oCIS, as the browser shows it.",
)
@click.option("--user", help="The account's name.")
@click.option("--folder", metavar="PATH", help="Folder, or bucket, in which PATH begins.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PARAMETER=VALUE",
    help="Another parameter of the type, such as region=eu-central-1; no secret.",
)
@click.option(
    "--secret-file",
    multiple=True,
    metavar="[PARAMETER=]FILE",
    help="File with a secret, or - for stdin. A copy is kept that only you can read. Without "
    "PARAMETER, the password or the secret key.",
)
@click.option(
    "--secret-command",
    multiple=True,
    metavar="[PARAMETER=]COMMAND",
    help="Command that prints the secret whenever it is needed, such as 'pass show cloud'.",
)
@click.option(
    "--secret-env",
    multiple=True,
    metavar="[PARAMETER=]VARIABLE",
    help="Environment variable that will have the secret whenever it is needed.",
)
def add(
    name: str,
    endpoints: Path | None,
    kind: str | None,
    settings: tuple[str, ...],
    secret_file: tuple[str, ...],
    secret_command: tuple[str, ...],
    secret_env: tuple[str, ...],
    **given: str | None,
) -> None:
    """Add an endpoint. In a terminal, the command asks for what the options do not give.

    Secrets are asked for without being shown, and are kept in files with mode 0600 in the folder
    `secrets` beside the endpoints file. The rest of the endpoints file stays as it is. Nothing is
    overwritten: remove an endpoint before you add another one with its name.

    \b
    Examples:
      efss-transfer endpoints add cloud
      efss-transfer endpoints add box --kind sftp --address alice@example.org --secret-env PASSWORD
      efss-transfer endpoints add public --kind aws --set region=eu-west-1 --set anonymous=true
    """
    from efss_transfer.cli.endpoints import questions
    from efss_transfer.cli.endpoints.given import Given, fill, missing
    from efss_transfer.cli.endpoints.store import Store

    store = Store(endpoints)
    with _usage_errors():
        _refuse_name(store, name)
        draft = _draft(kind)
        fill(draft, Given(given, settings, secret_file, secret_command, secret_env))
        if questions.can_ask():
            if missing(draft) or kind is None:
                questions.ask_all(draft)
        elif lacking := missing(draft):
            raise click.UsageError(f"No terminal to ask in: give {', '.join(lacking)}.")
        if wrong := draft.finish():
            raise click.UsageError("\n".join(wrong))
        entry = {"type": draft.preset.type, "path": draft.path, "parameters": draft.parameters}
        made = store.add(name, {it: value for it, value in entry.items() if value}, draft.secrets)
    for line in _added(store, name, draft, made):
        click.echo(printable(line))


@endpoints.command("remove")
@click.argument("name")
@ENDPOINTS_OPTION
@click.option("--yes", is_flag=True, help="Do not ask before the removal.")
def remove(name: str, endpoints: Path | None, yes: bool) -> None:
    """Remove an endpoint from your file, and the files that `add` made for its secrets.

    Nothing at the storage is removed. The rest of the endpoints file stays as it is.

    \b
    Example:
      efss-transfer endpoints remove cloud --yes
    """
    from efss_transfer.cli.endpoints.questions import can_ask
    from efss_transfer.cli.endpoints.store import Store, shown

    store = Store(endpoints)
    with _usage_errors():
        entries = store.entries()
        if name not in entries:
            meant = did_you_mean(name, entries)
            raise click.UsageError(f"{shown(store.file)} has no endpoint {name!r}.{meant}")
        if not yes:
            if not can_ask():
                raise click.UsageError("No terminal to ask in: give --yes to remove the endpoint.")
            click.confirm(f"Remove {name} from {shown(store.file)}?", abort=True, err=True)
        removed = [shown(store.file), *map(shown, store.remove(name))]
    click.echo(printable(f"Removed {name}: {', '.join(removed)}."))


endpoints.add_command(check, "test")


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn what is wrong with the file or the options into wrong usage."""
    from efss_transfer.cli.endpoints.draft import Invalid
    from efss_transfer.cli.endpoints.presets import UnknownKind

    try:
        yield
    except (InvalidEndpoints, Invalid, UnknownKind) as error:
        raise click.UsageError(printable(str(error))) from None


def _refuse_name(store: Store, name: str) -> None:
    """Refuse a name that is invalid or taken. Raises click.UsageError and InvalidEndpoints."""
    if not endpoints_file.NAME.fullmatch(name):
        raise click.UsageError(
            "NAME must begin with a letter or a digit, and consist of at most 64 letters, digits, "
            "`.`, `_` and `-`."
        )
    store.refuse_taken(name)


def _draft(kind: str | None) -> Draft:
    from efss_transfer.cli.endpoints import questions
    from efss_transfer.cli.endpoints.draft import Draft
    from efss_transfer.cli.endpoints.presets import PRESETS, preset_of

    if kind is not None:
        return Draft(preset_of(kind))
    if not questions.can_ask():
        names = ", ".join(preset.name for preset in PRESETS)
        raise click.UsageError(
            f"No terminal to ask in: give --kind: {names}, or another storage type."
        )
    return Draft(questions.ask_kind())


def _added(store: Store, name: str, draft: Draft, made: list[Path]) -> Iterator[str]:
    from efss_transfer.cli.endpoints.store import shown

    yield f"Added {name} to {shown(store.file)}."
    address = draft.parameters.get(draft.preset.address or "")
    if address is not None:
        yield f"Address: {address}"
    if made:
        yield f"Secrets, which only you can read: {', '.join(map(shown, made))}"
    if draft.preset.type == "sftp" and "host_keys" not in draft.parameters:
        yield (
            "Your ~/.ssh/known_hosts does not have this server, so any that answers there is "
            "trusted. To change that, connect by ssh once, then remove and add the endpoint again."
        )
    local = "" if os.environ.get(f"{PREFIX}URL") else " --local"
    yield f"Next: efss-transfer endpoints test {name}{local}"
