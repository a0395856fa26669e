"""`efss-transfer site`: what an operator asks before the function starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from efss_transfer.config.environment import PREFIX

if TYPE_CHECKING:
    from efss_transfer.site.site_file import Site


@click.group()
def site() -> None:
    """The site file: who may call, and what they may reach."""


@site.command()
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar=f"{PREFIX}SITE",
)
@click.option("--json", "as_json", is_flag=True, help="Tell it as JSON, for programs.")
def check(file: Path, as_json: bool) -> None:
    """Check a site file, without starting anything.

    FILE is the one that EFSS_TRANSFER_SITE names, if it is left out. Every mistake is told,
    with its JSON Pointer. Whether variables and files that it refers to are there is looked
    up here: run it where the function will run. AWS is not asked.

    Exits with 0 if the function would start with it, and with 1 if not.

    \b
    Example:
      efss-transfer site check site.json
    """
    from efss_transfer.auth.admission import Admission
    from efss_transfer.model.errors import ConfigurationError, InvalidSite
    from efss_transfer.site import site_file

    try:
        read = site_file.read(file)
        Admission(read)
    except ConfigurationError as error:
        if as_json:
            mistakes = error.violations if isinstance(error, InvalidSite) else []
            click.echo(
                json.dumps(
                    {
                        "valid": False,
                        "detail": str(error).partition("\n")[0],
                        "errors": [mistake.to_json() for mistake in mistakes],
                    }
                )
            )
        else:
            click.echo(f"{file}: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"valid": True, "errors": []}))
    else:
        click.echo(_summary(file, read))


def _summary(file: Path, read: Site) -> str:
    rows = [
        ("callers", _callers(read)),
        ("types", ", ".join(sorted(read.allowed_types or ())) or "all that can be checked"),
        ("hosts", ", ".join(read.egress_rules.hosts or ()) or "all that are public"),
        ("networks", ", ".join(map(str, read.egress_rules.networks)) or "public ones only"),
        ("egress", read.egress_proxy or "straight"),
        ("notify", "nobody" if read.notify_secret is None else "whom a request names, signed"),
    ]
    for name, storage in sorted(read.storages.items()):
        use = " and ".join(sorted(storage.use, reverse=True))
        rows.append((f"storage {name}", f"{storage.type}, as {use}, root '{storage.root}'"))
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"{file}: valid", *(f"  {name:{width}}  {what}" for name, what in rows)])


def _callers(read: Site) -> str:
    mode = read.authentication["mode"]
    if mode == "none":
        return "this machine's, without a name"
    return f"by {mode}, " + ("all" if read.callers is None else f"{len(read.callers)} named")
