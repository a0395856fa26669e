"""`efss-transfer site`: check a site file before the function starts."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from efss_transfer.cli.formatting import printable
from efss_transfer.config.environment import PREFIX

if TYPE_CHECKING:
    from efss_transfer.cli.operator.server_checks import ServerOutcome
    from efss_transfer.cli.operator.storage_checks import StorageOutcome
    from efss_transfer.model.errors import Violation
    from efss_transfer.site.site_file import Site

_MISTAKES: Final = 1
_SECRETS: Final = 3
_STORAGES: Final = 4


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
@click.option(
    "--require-secrets", is_flag=True, help="Also fail if a secret is not on this machine."
)
@click.option(
    "--credentials",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Look in this folder for secrets below /run/credentials, where systemd puts them.",
)
@click.option("--connect", is_flag=True, help="Also try each storage and the FTS server.")
def check(
    file: Path, as_json: bool, require_secrets: bool, credentials: Path | None, connect: bool
) -> None:
    """Check a site file without starting the function.

    Without FILE, checks the file that EFSS_TRANSFER_SITE names. Lists all mistakes, each with the
    JSON Pointer of its place, and apart from them the variables and files it refers to that are
    missing on this machine: the function does not start without them. Secrets in AWS are fetched
    with --connect only, which writes nothing. It reaches each storage, signs in and reads, and
    asks the FTS server whether it accepts the site's token.

    Exits with 0 if the file has no mistake, and with 1 if it has; with 3 if a secret is missing
    and --require-secrets or --connect needs it; with 4 if a storage or the FTS server did
    not pass --connect.

    \b
    Examples:
      efss-transfer site check site.json
      efss-transfer site check --connect site.json
    """
    found = _examine(file, credentials)
    if found.site is not None and connect:
        found.storages = _try_storages(found.site, found.missing)
        found.servers = _try_servers(found.site, found.missing)
    (_print_json if as_json else _print)(file, found)
    if found.site is None:
        sys.exit(_MISTAKES)
    if found.missing and (require_secrets or connect):
        sys.exit(_SECRETS)
    if any(it.state == "failed" for it in (*(found.storages or ()), *(found.servers or ()))):
        sys.exit(_STORAGES)


@dataclass
class _Findings:
    """The result of checking a site file. `site` is None if the file is invalid or unreadable."""

    site: Site | None = None
    detail: str = ""
    mistakes: list[Violation] = field(default_factory=list)
    missing: list[Violation] = field(default_factory=list)
    storages: list[StorageOutcome] | None = None
    servers: list[ServerOutcome] | None = None


def _examine(file: Path, credentials: Path | None) -> _Findings:
    from efss_transfer.auth.admission import Admission
    from efss_transfer.model.errors import ConfigurationError, InvalidSite
    from efss_transfer.site import site_file

    found = _Findings()
    try:
        try:
            found.site = site_file.read(file, credentials=credentials)
        except InvalidSite as error:
            found.missing = [it for it in error.violations if it.keyword == "secret"]
            found.mistakes = [it for it in error.violations if it.keyword != "secret"]
            if found.mistakes or not found.missing:
                raise
            found.site = site_file.read(file, credentials=credentials, may_lack_secrets=True)
        Admission(found.site)
    except ConfigurationError as error:
        found.site, found.detail = None, str(error).partition("\n")[0]
    return found


def _try_storages(read: Site, missing: list[Violation]) -> list[StorageOutcome]:
    from efss_transfer.cli.in_process import NotConfigured
    from efss_transfer.cli.operator import storage_checks

    lacking = {
        it.pointer.split("/")[2]: it.message for it in missing if it.pointer.startswith("/storages")
    }
    try:
        return list(storage_checks.outcomes(read, lacking))
    except NotConfigured as error:
        raise click.ClickException(str(error)) from None


def _try_servers(read: Site, missing: list[Violation]) -> list[ServerOutcome]:
    from efss_transfer.cli.operator import server_checks
    from efss_transfer.model.errors import ConfigurationError

    lacking = [it.message for it in missing if it.pointer.startswith("/engines/fts/")]
    try:
        return server_checks.outcomes(read, next(iter(lacking), None))
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


def _print_json(_file: Path, found: _Findings) -> None:
    document: dict[str, Any] = {"valid": found.site is not None}
    if found.detail:
        document["detail"] = found.detail
    document["errors"] = [it.to_json() for it in found.mistakes]
    document["missing"] = [it.to_json() for it in found.missing]
    if found.storages is not None:
        document["storages"] = [it.to_json() for it in found.storages]
    if found.servers is not None:
        document["engines"] = [it.to_json() for it in found.servers]
    click.echo(json.dumps(document))


def _print(file: Path, found: _Findings) -> None:
    if found.site is not None:
        click.echo(_summary(file, found.site))
    elif found.mistakes:
        count = len(found.mistakes)
        click.echo(f"{file}: {count} {'mistake' if count == 1 else 'mistakes'}", err=True)
        for it in found.mistakes:
            pointer = it.pointer or "(entire file)"
            click.echo(printable(f"  {pointer}: {it.message} [{it.keyword}]"), err=True)
    else:
        click.echo(f"{file}: {found.detail}", err=True)
    if found.missing:
        click.echo(
            "Secrets missing on this machine, where the function would not start. This is no "
            "mistake of the file:",
            err=True,
        )
    for it in found.missing:
        click.echo(printable(f"  {it.pointer}: {it.message}"), err=True)
    tried = [(it.state, it.name, it.text) for it in found.storages or ()]
    tried += [(it.state, f"engine {it.engine}", it.text) for it in found.servers or ()]
    width = max((len(name) for _, name, _ in tried), default=0)
    for state, name, text in tried:
        click.echo(printable(f"{state:7}  {name:{width}}  {text}"))


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
