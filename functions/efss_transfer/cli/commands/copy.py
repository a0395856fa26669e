"""`efss-transfer copy` and `efss-transfer run`: the commands that copy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from efss_transfer.cli import exit_codes
from efss_transfer.cli.inputs import read_input
from efss_transfer.cli.options import ServiceOptions, service_options
from efss_transfer.cli.param_types import Name, Size
from efss_transfer.cli.transfer import transfer
from efss_transfer.config.environment import PREFIX


@click.command()
@click.argument("source", type=Name())
@click.argument("destination", type=Name())
@click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    envvar=f"{PREFIX}ENDPOINTS",
    help="Your endpoints file. Default: ~/.config/efss-transfer/endpoints.toml.",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Copy only files that match. Repeatable."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Skip files that match. Repeatable.")
@click.option(
    "--files-from",
    metavar="FILE",
    help="Copy exactly the files listed in FILE, one path a line; - for stdin.",
)
@click.option("--min-size", type=Size(), help="Skip smaller files.")
@click.option("--max-size", type=Size(), help="Skip larger files.")
@click.option(
    "--modified-after", metavar="TIME", help="Copy only files modified after TIME (RFC 3339)."
)
@click.option(
    "--modified-before", metavar="TIME", help="Copy only files modified before TIME (RFC 3339)."
)
@click.option(
    "--overwrite",
    type=click.Choice(["changed", "newer", "never", "always"]),
    help="When to overwrite a file at the destination. [default: changed]",
)
@click.option(
    "--compare",
    type=click.Choice(["default", "size", "checksum"]),
    help="How to detect a changed file.",
)
@click.option(
    "--verify",
    type=click.Choice(["none", "size", "checksum", "download"]),
    help="Compare source and destination after the copy.",
)
@click.option(
    "--require-checksum",
    is_flag=True,
    default=None,
    help="With --verify checksum: fail where a file has no checksum.",
)
@click.option(
    "--create-bucket",
    is_flag=True,
    default=None,
    help="Create the destination's bucket if it is missing.",
)
@click.option("--metadata", is_flag=True, default=None, help="Also copy metadata.")
@click.option(
    "--dry-run", "-n", is_flag=True, default=None, help="Copy nothing; report what would be copied."
)
@click.option(
    "--on-error",
    type=click.Choice(["continue", "stop"]),
    help="Continue or stop after a file failed. [default: continue]",
)
@click.option("--attempts", type=int, help="Number of attempts by the service in each invocation.")
@click.option("--bandwidth-limit", type=Size(), help="Maximum bytes per second.")
@click.option("--transfers", type=int, help="Number of files to copy at the same time.")
@click.option(
    "--deadline",
    "deadline_seconds",
    type=float,
    metavar="SECONDS",
    help="Time limit of one invocation; a lower limit of the service takes precedence.",
)
@click.option("--id", "name", help="Your name for the transfer; the service logs it.")
@service_options
def copy(
    source: str,
    destination: str,
    endpoints: Path | None,
    files_from: str | None,
    name: str | None,
    service: ServiceOptions,
    **chosen: Any,
) -> None:
    """Copy SOURCE to DESTINATION, however long it takes.

    Both are NAME:PATH. NAME is an endpoint of your endpoints file, or a storage that the
    service's site file defines. When the service reaches its time limit, the command resumes
    the copy automatically.

    Exits as rclone does: 0 complete, 2 usage, 3 source not found, 5 temporary failure, 6 some
    files failed, 7 refused, 10 time limit reached; 130 after Ctrl-C, which cancels the copy.

    \b
    Examples:
      efss-transfer copy cloud:Measurements archive:2026
      efss-transfer copy --include '*.h5' --verify checksum cloud:raw archive:raw
      efss-transfer copy --dry-run --local cloud: backup:cloud
    """
    from efss_transfer.cli import endpoints_file

    try:
        known = endpoints_file.read(endpoints, _prompt)
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
    code = transfer(request, service)
    if code == exit_codes.REFUSED:
        for hint in known.hints(source, destination):
            click.echo(hint, err=True)
    sys.exit(code)


@click.command()
@click.argument("request", metavar="REQUEST.json")
@service_options
def run(request: str, service: ServiceOptions) -> None:
    """Send a transfer request from a file, or - for stdin.

    `efss-transfer schema request` prints the schema of the request. Progress, options and exit
    codes are those of `copy`.

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
        raise click.UsageError(f"{request}: the request must be a JSON object.")
    sys.exit(transfer(document, service))


_SELECTION: Final = (
    "include",
    "exclude",
    "min_size",
    "max_size",
    "modified_after",
    "modified_before",
)


def _members(chosen: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the selection and the options of the request."""
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
        raise click.UsageError(f"{file} is not UTF-8 text.") from None
    # Split at \n alone: a name may contain the other line ends that splitlines() knows.
    return [path for line in text.split("\n") if (path := line.removesuffix("\r"))]


def _prompt(text: str) -> str:
    """Prompt for a secret on the terminal."""
    try:
        with open("/dev/tty"):  # noqa: PTH123 - only whether there is one
            pass
    except OSError:
        raise click.UsageError(
            "The endpoints file prompts for a secret, but no terminal is available. Use "
            '{env = "NAME"}, {file = "PATH"} or {fd = 3} there.'
        ) from None
    return str(click.prompt(text, hide_input=True, err=True))
