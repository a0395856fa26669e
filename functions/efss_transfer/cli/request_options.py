"""Options of the commands that take SOURCE and DESTINATION, and the request that they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from efss_transfer.cli.inputs import read_input, secret_from_file
from efss_transfer.cli.param_types import Size
from efss_transfer.config.environment import PREFIX

if TYPE_CHECKING:
    from efss_transfer.cli.endpoints_file import UserEndpoints

_Command = TypeVar("_Command", bound=Callable[..., Any])

ENGINES: Final = ("rclone", "tpc", "fts")
ENGINE_OF_A_LOOK: Final = click.option(
    "--engine", type=click.Choice(ENGINES), help="What looks. [default: rclone]"
)
ENDPOINTS_OPTION: Final = click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    envvar=f"{PREFIX}ENDPOINTS",
    help="Your endpoints file. Default: ~/.config/efss-transfer/endpoints.toml.",
)
_OPTIONS: Final = (
    ENDPOINTS_OPTION,
    click.option(
        "--include", multiple=True, metavar="GLOB", help="Copy only files that match. Repeatable."
    ),
    click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Skip files that match. Repeatable."
    ),
    click.option(
        "--files-from",
        metavar="FILE",
        help="Copy exactly the files listed in FILE, one path a line; - for stdin.",
    ),
    click.option("--min-size", type=Size(), help="Skip smaller files."),
    click.option("--max-size", type=Size(), help="Skip larger files."),
    click.option(
        "--modified-after", metavar="TIME", help="Copy only files modified after TIME (RFC 3339)."
    ),
    click.option(
        "--modified-before", metavar="TIME", help="Copy only files modified before TIME (RFC 3339)."
    ),
    click.option(
        "--overwrite",
        type=click.Choice(["changed", "newer", "never", "always"]),
        help="When to overwrite a file at the destination. [default: changed]",
    ),
    click.option(
        "--compare",
        type=click.Choice(["default", "size", "checksum"]),
        help="How to detect a changed file.",
    ),
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        help="What copies: tpc lets WebDAV storages copy between themselves, fts by jobs of an FTS "
        "server. [default: rclone]",
    ),
    click.option(
        "--fts-token-file",
        type=click.Path(path_type=Path),
        help="With --engine fts: file with your bearer token for the FTS server, if the site has "
        "none or you use yours.",
    ),
)
_SELECTION: Final = (
    "include",
    "exclude",
    "min_size",
    "max_size",
    "modified_after",
    "modified_before",
)


def request_options(command: _Command) -> _Command:
    """Give a command the options that say which files of which endpoints to copy."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_endpoints(
    file: Path | None, source: str, destination: str
) -> tuple[UserEndpoints, dict[str, Any]]:
    """Return the user's endpoints, and a request with those that two `NAME:PATH` refer to.

    Raises click.UsageError.
    """
    known, ends = read_each(file, source, destination)
    return known, dict(zip(("source", "destination"), ends, strict=True))


def read_each(file: Path | None, *texts: str) -> tuple[UserEndpoints, list[dict[str, Any]]]:
    """Return the user's endpoints, and those that each `NAME:PATH` refers to.

    Raises click.UsageError.
    """
    from efss_transfer.cli import endpoints_file

    try:
        known = endpoints_file.read(file, _prompt)
        return known, [known.endpoint(text) for text in texts]
    except endpoints_file.InvalidEndpoints as error:
        raise click.UsageError(str(error)) from None


def with_path(text: str) -> str:
    """Return `NAME:PATH` for a text that may be a NAME alone."""
    return text if ":" in text or "/" in text else f"{text}:"


def members(chosen: dict[str, Any], files_from: str | None) -> dict[str, Any]:
    """Return `engine`, `fts`, `selection` and `options` of a request, each only if it was given.

    Raises click.UsageError.
    """
    given = {
        member: list(value) if isinstance(value, tuple) else value
        for member, value in chosen.items()
        if value is not None and value != ()
    }
    selection: dict[str, Any] = {name: it for name, it in given.items() if name in _SELECTION}
    engine = {name: given.pop(name) for name in ("engine",) if name in given}
    if (file := given.pop("fts_token_file", None)) is not None:
        engine["fts"] = {"token": _fts_token(Path(str(file)))}
    options = {name: it for name, it in given.items() if name not in selection}
    if files_from is not None:
        selection["files"] = [{"path": path} for path in _paths(files_from)]
    found = {"selection": selection, "options": options}
    return engine | {name: it for name, it in found.items() if it}


def show_hints(known: UserEndpoints, *texts: str) -> None:
    """Name the endpoint of the file that a refused one may have meant."""
    for hint in known.hints(*texts):
        click.echo(hint, err=True)


def _fts_token(file: Path) -> str:
    if not (token := secret_from_file(file)):
        raise click.UsageError(
            f"{file} is empty or cannot be read: --fts-token-file needs a token."
        )
    return token


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
