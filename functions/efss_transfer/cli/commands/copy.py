"""`efss-transfer copy` and `efss-transfer run`: the commands that move data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from efss_transfer.cli.options import ServiceOptions, service_options
from efss_transfer.cli.param_types import Name, Size
from efss_transfer.cli.transfer import read_input, transfer
from efss_transfer.config.environment import PREFIX


@click.command()
@click.argument("source", type=Name())
@click.argument("destination", type=Name())
@click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    envvar=f"{PREFIX}ENDPOINTS",
    help="Your endpoints file; otherwise ~/.config/efss-transfer/endpoints.toml.",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Only files that match one of these."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="No file that matches one of these.")
@click.option(
    "--files-from",
    metavar="FILE",
    help="Exactly the files whose paths stand in FILE, a line each; - for stdin.",
)
@click.option("--min-size", type=Size(), help="Only files that have that many bytes.")
@click.option("--max-size", type=Size(), help="Only files that have no more.")
@click.option("--modified-after", metavar="TIME", help="Only files changed since; RFC 3339.")
@click.option("--modified-before", metavar="TIME", help="Only files changed before; RFC 3339.")
@click.option(
    "--overwrite",
    type=click.Choice(["changed", "newer", "never", "always"]),
    help="What to do with a file that is there already. [default: changed]",
)
@click.option(
    "--compare",
    type=click.Choice(["default", "size", "checksum"]),
    help="How to tell whether a file has changed.",
)
@click.option(
    "--verify",
    type=click.Choice(["none", "size", "checksum", "download"]),
    help="Compare both sides once more at the end.",
)
@click.option("--metadata", is_flag=True, default=None, help="Copy what is kept besides content.")
@click.option(
    "--dry-run", "-n", is_flag=True, default=None, help="Copy nothing, tell what would be."
)
@click.option(
    "--on-error",
    type=click.Choice(["continue", "stop"]),
    help="Whether to go on when a file has failed. [default: continue]",
)
@click.option("--attempts", type=int, help="How often the service tries each invocation.")
@click.option("--bandwidth-limit", type=Size(), help="Bytes a second at most.")
@click.option("--transfers", type=int, help="How many files to copy at a time.")
@click.option(
    "--deadline",
    "deadline_seconds",
    type=float,
    metavar="SECONDS",
    help="How long one invocation may take; the service's own limit counts if it is less.",
)
@click.option("--id", "name", help="Your own name for it; it stands in the service's log.")
@service_options
def copy(
    source: str,
    destination: str,
    endpoints: Path | None,
    files_from: str | None,
    name: str | None,
    ways: ServiceOptions,
    **chosen: Any,
) -> None:
    """Copy SOURCE to DESTINATION, however long it takes.

    Both are NAME:PATH. NAME stands in your endpoints file, or is a storage that the service's
    site has configured. What the service's time runs out for is gone on with by itself.

    Exits as rclone does: 0 done, 2 usage, 3 no such source, 5 may pass by itself, 6 some files
    failed, 7 refused, 10 time ran out; 130 after Ctrl-C, which cancels the copy.

    \b
    Examples:
      efss-transfer copy cloud:Measurements archive:2026
      efss-transfer copy --include '*.h5' --verify checksum cloud:raw archive:raw
      efss-transfer copy --dry-run --local cloud: backup:cloud
    """
    from efss_transfer.cli import endpoints_file

    try:
        known = endpoints_file.read(endpoints, _asked)
        request: dict[str, Any] = {
            "source": known.endpoint(source),
            "destination": known.endpoint(destination),
        }
    except endpoints_file.InvalidEndpoints as error:
        raise click.UsageError(str(error)) from None
    if name is not None:
        request["id"] = name
    selection, options = _members(chosen)
    if files_from is not None:
        selection["files"] = [{"path": path} for path in _paths(files_from)]
    request |= {"selection": selection} if selection else {}
    request |= {"options": options} if options else {}
    sys.exit(transfer(request, ways))


@click.command()
@click.argument("request", metavar="REQUEST.json")
@service_options
def run(request: str, ways: ServiceOptions) -> None:
    """Send a transfer request, which is a file, or - for stdin.

    It is what the schema `request` describes, see `efss-transfer schema`. Otherwise as `copy`.

    \b
    Examples:
      efss-transfer run request.json
      efss-transfer run --local --json - <request.json
    """
    from efss_transfer.contract import validation
    from efss_transfer.model.errors import InvalidJson

    try:
        document = validation.load(read_input(request))
    except InvalidJson as error:
        raise click.UsageError(f"{request}: {error}") from None
    if not isinstance(document, dict):
        raise click.UsageError(f"{request}: A request is an object.")
    sys.exit(transfer(document, ways))


_SELECTION: Final = (
    "include",
    "exclude",
    "min_size",
    "max_size",
    "modified_after",
    "modified_before",
)


def _members(chosen: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Selection and options of a request, of what was chosen."""
    given = {
        member: list(value) if isinstance(value, tuple) else value
        for member, value in chosen.items()
        if value is not None and value != ()
    }
    selection = {member: value for member, value in given.items() if member in _SELECTION}
    return selection, {member: given[member] for member in given if member not in selection}


def _paths(file: str) -> list[str]:
    try:
        text = read_input(file).decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not UTF-8.") from None
    # A request is read as JSON, which has no bounds of lines but these.
    return [path for line in text.split("\n") if (path := line.removesuffix("\r"))]


def _asked(text: str) -> str:
    """A secret, typed by a person who is there."""
    try:
        with open("/dev/tty"):  # noqa: PTH123 - only whether there is one
            pass
    except OSError:
        raise click.UsageError(
            "A secret is to be asked for, and there is no terminal: refer to it otherwise."
        ) from None
    return str(click.prompt(text, hide_input=True, err=True))
