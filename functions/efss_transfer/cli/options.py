"""Options shared by commands: the services, the invocations, the shards and the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from efss_transfer.cli.param_types import OneShard, Shards
from efss_transfer.config.environment import PREFIX
from efss_transfer.model.result import Shard


@dataclass(frozen=True)
class ConnectionOptions:
    """The services' URLs, and how to connect to them."""

    url: tuple[str, ...]
    token_file: Path | None
    token_fd: int | None
    ca_bundle: Path | None


@dataclass(frozen=True)
class LookOptions(ConnectionOptions):
    """The services to ask about a storage, and the output. `local` asks this process."""

    local: bool
    as_json: bool


_Options = TypeVar("_Options", bound=ConnectionOptions)


@dataclass(frozen=True)
class ServiceOptions(ConnectionOptions):
    """The services of a transfer, its invocations and shards, and the output.

    `shards` is None for a request that is sent unchanged, and 0 for as many as a plan suggests.
    """

    local: bool
    retries: int | None
    max_invocations: int | None
    shards: int | None
    parallel: int | None
    shard: Shard | None
    result: Path | None
    report: Path | None
    log_file: Path | None
    error_on_no_transfer: bool
    as_json: bool
    quiet: bool


_URL_VARIABLE: Final = f"{PREFIX}URL"
_TOKEN_FILE: Final = click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help=f"File with the bearer token. Alternative: set {PREFIX}TOKEN.",
)
_TOKEN_FD: Final = click.option(
    "--token-fd", type=click.IntRange(0), help="Open file descriptor to read the token from."
)
_CA_BUNDLE: Final = click.option(
    "--ca-bundle",
    type=click.Path(exists=True, path_type=Path),
    help="CA certificates to trust, a file or a folder. Default: REQUESTS_CA_BUNDLE.",
)
_PLAN_URL: Final = click.option(
    "--url",
    envvar=_URL_VARIABLE,
    multiple=True,
    default=("http://127.0.0.1:8080",),
    show_default=True,
    help=f"URL of the service. Alternative: set {_URL_VARIABLE}.",
    metavar="URL",
)
_LOOK_OPTIONS: Final = (
    click.option(
        "--url",
        envvar=_URL_VARIABLE,
        multiple=True,
        help=f"URL of the service. Alternative: set {_URL_VARIABLE}.",
        metavar="URL",
    ),
    click.option("--local", is_flag=True, help="Look from this machine, without a service."),
    _TOKEN_FILE,
    _TOKEN_FD,
    _CA_BUNDLE,
    click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
)
_TRANSFER_OPTIONS: Final = (
    click.option(
        "--url",
        envvar=_URL_VARIABLE,
        multiple=True,
        help=f"URL of the service. Alternative: set {_URL_VARIABLE}. With --shards, several: "
        "repeat --url or separate them by commas.",
        metavar="URL",
    ),
    click.option(
        "--shards",
        type=Shards(),
        help="Split the transfer into N shards, copy them in parallel and merge the results. "
        "auto: as many as a plan suggests.",
    ),
    click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        metavar="M",
        help="Number of shards to copy at the same time. [default: 4 for each service]",
    ),
    click.option("--shard", type=OneShard(), help="Copy only this shard, for example 0/8."),
    click.option(
        "--result",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Also write the result to FILE, without its list of files: at most 4096 bytes.",
    ),
    click.option(
        "--report",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the outcome of each file to FILE: CSV if its name ends in .csv, lines of JSON "
        "if it ends in .jsonl.",
    ),
    click.option(
        "--log-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Also append progress and failed files to FILE, each line with its time.",
    ),
    click.option("--local", is_flag=True, help="Copy from this machine, without a service."),
    _TOKEN_FILE,
    _TOKEN_FD,
    _CA_BUNDLE,
    click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        help="Number of retries after a temporary failure. [default: 3; none if the service or a "
        "storage was not reached at all]",
    ),
    click.option(
        "--max-invocations",
        type=click.IntRange(1),
        help="Maximum number of invocations, including the first. Default: continue while files "
        "keep arriving.",
    ),
    click.option(
        "--error-on-no-transfer", is_flag=True, help="Exit with 9 if no file had to be copied."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print events as JSON, one a line."),
    click.option("--quiet", "-q", is_flag=True, help="Print only the summary."),
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a connection, passed as `connection`."""

    @wraps(command)
    def call(**given: Any) -> Any:
        connection = _taken(ConnectionOptions, given)
        return command(**given, connection=connection)

    return _decorate(call, (_PLAN_URL, _TOKEN_FILE, _TOKEN_FD, _CA_BUNDLE))


def look_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a look at a storage, passed as `look`."""

    @wraps(command)
    def call(**given: Any) -> Any:
        look = _taken(LookOptions, given)
        _check_url(look, is_local=look.local)
        return command(**given, look=look)

    return _decorate(call, _LOOK_OPTIONS)


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a transfer, passed as `service`."""

    @wraps(command)
    def call(**given: Any) -> Any:
        service = _taken(ServiceOptions, given)
        # Before the command prompts for a password.
        _check(service)
        return command(**given, service=service)

    return _decorate(call, _TRANSFER_OPTIONS)


def _taken(kind: type[_Options], given: dict[str, Any]) -> _Options:
    """Move the members of `kind` out of `given`; URLs may be separated by commas."""
    members = {field.name: given.pop(field.name) for field in fields(kind)}
    urls = [part.strip() for url in members["url"] for part in url.split(",")]
    return kind(**{**members, "url": tuple(dict.fromkeys(url for url in urls if url))})


def _check(service: ServiceOptions) -> None:
    _check_url(service, is_local=service.local)
    if len(service.url) > 1 and service.shards is None and not service.local:
        raise click.UsageError("Several services need --shards: give it, or only one --url.")
    if service.parallel is not None and service.shards is None:
        raise click.UsageError("--parallel needs --shards.")
    if service.shard is not None and service.shards is not None:
        raise click.UsageError("Use either --shards or --shard, not both.")


def _check_url(connection: ConnectionOptions, *, is_local: bool) -> None:
    if not connection.url and not is_local:
        raise click.UsageError(
            f"No service given. Give --url, set {_URL_VARIABLE}, or use --local."
        )
    if is_local and _is_given("url"):
        raise click.UsageError("Use either --url or --local, not both.")


def _decorate(
    call: Callable[..., Any], options: tuple[Callable[[Any], Any], ...]
) -> Callable[..., Any]:
    for option in reversed(options):
        call = option(call)
    return call


def _is_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE
