"""`efss-transfer copy` and `efss-transfer run`: the commands that copy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from efss_transfer.cli import exit_codes
from efss_transfer.cli.inputs import read_input
from efss_transfer.cli.options import ServiceOptions, service_options
from efss_transfer.cli.param_types import Name, Size
from efss_transfer.cli.request_options import (
    members,
    read_endpoints,
    request_options,
    show_hints,
)
from efss_transfer.cli.transfer import transfer

_Command = TypeVar("_Command", bound=Callable[..., Any])
_COPY_OPTIONS: Final = (
    click.option(
        "--verify",
        type=click.Choice(["none", "size", "checksum", "download"]),
        help="Compare source and destination after the copy.",
    ),
    click.option(
        "--require-checksum",
        is_flag=True,
        default=None,
        help="With --verify checksum: fail where a file has no checksum.",
    ),
    click.option(
        "--create-bucket",
        is_flag=True,
        default=None,
        help="Create the destination's bucket if it is missing.",
    ),
    click.option("--metadata", is_flag=True, default=None, help="Also copy metadata."),
    click.option(
        "--on-error",
        type=click.Choice(["continue", "stop"]),
        help="Continue or stop after a file failed. [default: continue]",
    ),
    click.option(
        "--attempts", type=int, help="Number of attempts by the service in each invocation."
    ),
    click.option("--bandwidth-limit", type=Size(), help="Maximum bytes per second."),
    click.option("--transfers", type=int, help="Number of files to copy at the same time."),
    click.option(
        "--deadline",
        "deadline_seconds",
        type=float,
        metavar="SECONDS",
        help="Time limit of one invocation; a lower limit of the service takes precedence.",
    ),
    click.option("--id", "name", help="Your name for the transfer; the service logs it."),
)


def copy_options(command: _Command) -> _Command:
    """Give a command the options that say how to copy."""
    for option in reversed(_COPY_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("source", type=Name())
@click.argument("destination", type=Name())
@request_options
@copy_options
@click.option(
    "--dry-run", "-n", is_flag=True, default=None, help="Copy nothing; report what would be copied."
)
@click.option(
    "--detach",
    is_flag=True,
    default=None,
    help="Start the copy and exit, where the engine can; `status` tells how far it is.",
)
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
    files failed, 7 refused, 10 time limit reached; 130 after Ctrl-C, which cancels the copy. With
    --detach 0 may also mean that the copy has started: see `status`.

    \b
    Examples:
      efss-transfer copy cloud:Measurements archive:2026
      efss-transfer copy --include '*.h5' --verify checksum cloud:raw archive:raw
      efss-transfer copy --dry-run --local cloud: backup:cloud
      efss-transfer copy --detach --engine fts eos:run-42 dcache:run-42
    """
    known, request = read_endpoints(endpoints, source, destination)
    if name is not None:
        request["id"] = name
    if chosen["detach"] and service.shards is not None:
        raise click.UsageError(
            "--detach cannot be used with --shards: a copy that goes on by itself needs none."
        )
    request |= members(chosen, files_from)
    code = transfer(request, service)
    if code == exit_codes.REFUSED:
        show_hints(known, source, destination)
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
