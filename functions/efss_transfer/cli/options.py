"""Options that say by which services a transfer is done, how often, and as how many shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from efss_transfer.cli.param_types import OneShard, Shards
from efss_transfer.config.environment import PREFIX
from efss_transfer.model.result import Shard

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class ServiceOptions:
    """By which services, how often, as how many shards, and how it is shown.

    `shards` is None for a request that is sent as it is, and 0 where a plan is to say.
    """

    url: tuple[str, ...]
    local: bool
    token_file: Path | None
    token_fd: int | None
    ca_bundle: Path | None
    retries: int
    max_invocations: int | None
    shards: int | None
    parallel: int | None
    shard: Shard | None
    result: Path | None
    error_on_no_transfer: bool
    as_json: bool
    quiet: bool


_OPTIONS: Final = (
    click.option(
        "--url",
        envvar=f"{PREFIX}URL",
        multiple=True,
        help=f"The service; or {PREFIX}URL. With --shards also several, each with a --url or "
        "with commas.",
        metavar="URL",
    ),
    click.option(
        "--shards",
        type=Shards(),
        help="Copy it as N shards, side by side, with one result; auto: as many as a plan says.",
    ),
    click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        metavar="M",
        help="How many shards at a time. [default: 4 for each service]",
    ),
    click.option("--shard", type=OneShard(), help="Copy that part alone."),
    click.option(
        "--result",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the result there, too, without files: at most 4096 bytes.",
    ),
    click.option("--local", is_flag=True, help="No service: copy from within this process."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help=f"Where the bearer token stands; or {PREFIX}TOKEN has it.",
    ),
    click.option("--token-fd", type=click.IntRange(0), help="An open descriptor to read it from."),
    click.option(
        "--ca-bundle",
        type=click.Path(exists=True, path_type=Path),
        help="Whose certificates to trust; or REQUESTS_CA_BUNDLE.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        default=3,
        show_default=True,
        help="How often to try again what can pass by itself.",
    ),
    click.option(
        "--max-invocations",
        type=click.IntRange(1),
        help="Go on with what the service's time ran out for at most so often, the first time "
        "included. Otherwise as long as files arrive.",
    ),
    click.option(
        "--error-on-no-transfer", is_flag=True, help="Exit with 9 if there was nothing to copy."
    ),
    click.option("--json", "as_json", is_flag=True, help="For programs: events as lines of JSON."),
    click.option("--quiet", "-q", is_flag=True, help="Only the summary."),
)


def service_options(command: _Command) -> _Command:
    """Give a command these options; it is called with them as one, `ways`."""

    @wraps(command)
    def called(**given: Any) -> Any:
        chosen = {name: given.pop(name) for name in ServiceOptions.__dataclass_fields__}
        urls = [it.strip() for url in chosen["url"] for it in url.split(",")]
        ways = ServiceOptions(**{**chosen, "url": tuple(dict.fromkeys(it for it in urls if it))})
        # Before anybody is asked for a password.
        if not ways.url and not ways.local:
            raise click.UsageError(
                f"Which service? Give --url, or set {PREFIX}URL, or use --local."
            )
        if ways.local and _given("url"):
            raise click.UsageError("Either --url or --local.")
        if len(ways.url) > 1 and ways.shards is None and not ways.local:
            raise click.UsageError("Several services take the shards of a transfer: give --shards.")
        if ways.parallel is not None and ways.shards is None:
            raise click.UsageError("--parallel is for --shards.")
        if ways.shard is not None and ways.shards is not None:
            raise click.UsageError("Either --shards or --shard.")
        return command(**given, ways=ways)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called  # type: ignore[return-value]


def _given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE
