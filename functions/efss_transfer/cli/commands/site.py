"""`efss-transfer site`: check a site file before the function starts."""

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
    """Check the site file: callers, hosts and storages."""


@site.command()
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar=f"{PREFIX}SITE",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def check(file: Path, as_json: bool) -> None:
    """Check a site file without starting the function.

    Without FILE, checks the file that EFSS_TRANSFER_SITE names. Lists all errors, each with the
    JSON Pointer of its place. Also checks that the variables and files it refers to exist, so
    run it where the function will run. Secrets in AWS are not fetched.

    Exits with 0 if the function would start, and with 1 if not.

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
            violations = error.violations if isinstance(error, InvalidSite) else []
            click.echo(
                json.dumps(
                    {
                        "valid": False,
                        "detail": str(error).partition("\n")[0],
                        "errors": [violation.to_json() for violation in violations],
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
        ("types", ", ".join(sorted(read.allowed_types or ())) or "all whose hosts can be checked"),
        ("hosts", ", ".join(read.egress_rules.hosts or ()) or "all public hosts"),
        ("networks", ", ".join(map(str, read.egress_rules.networks)) or "public networks only"),
        ("egress", read.egress_proxy or "direct"),
        ("notify", "off" if read.notify_secret is None else "URLs that requests give, signed"),
    ]
    for name, storage in sorted(read.storages.items()):
        use = " and ".join(sorted(storage.use, reverse=True))
        rows.append((f"storage {name}", f"{storage.type}, as {use}, root '{storage.root}'"))
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"{file}: valid", *(f"  {name:{width}}  {value}" for name, value in rows)])


def _callers(read: Site) -> str:
    mode = read.authentication["mode"]
    if mode == "none":
        return "local callers only, without authentication"
    return f"{mode}, " + ("all" if read.callers is None else f"{len(read.callers)} listed")
