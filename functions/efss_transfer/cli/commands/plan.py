"""`efss-transfer plan`: asks a service what a transfer would take, and tells it to a person."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

import click

from efss_transfer.config.environment import PREFIX

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


@click.command()
@click.argument("file", metavar="REQUEST.json", type=click.File(encoding="utf-8"))
@click.option(
    "--url",
    envvar=f"{PREFIX}URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help=f"The service; or {PREFIX}URL.",
    metavar="URL",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Where the bearer token stands; or {PREFIX}TOKEN has it.",
)
@click.option("--rate", type=float, help="Bytes a second that a transfer moves.")
@click.option("--files-per-second", type=float, help="Small files that it copies in a second.")
@click.option("--seconds", type=float, help="How long one invocation may take.")
@click.option("--json", "as_json", is_flag=True, help="Print the service's answer, for programs.")
def plan(
    file: TextIO, url: str, token_file: Path | None, as_json: bool, **reckoning: float | None
) -> None:
    """Tell what a transfer would take, and copy nothing.

    REQUEST.json is the transfer's request, or - for one on standard input. Both sides are
    listed once, which takes as long as it takes. What is not given here is measured, or is
    the service's own.

    Exits with 0 if the transfer can work, with 1 if it cannot, or if nobody can tell.

    \b
    Example:
      efss-transfer plan request.json --seconds 840 --rate 50000000
    """
    try:
        body = json.load(file)
    except ValueError:
        raise click.ClickException(f"{file.name} is not JSON.") from None
    given = {name: value for name, value in reckoning.items() if value is not None}
    if isinstance(body, dict) and given:
        known = body.get("plan")
        body["plan"] = {**known, **given} if isinstance(known, dict) else given
    token = os.environ.get(f"{PREFIX}TOKEN")
    if token_file is not None:
        token = token_file.read_text("utf-8")
    if sys.stderr.isatty():
        click.echo("Looking at both sides …", err=True)
    answer = _asked(url, body, token)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    elif "shards" in answer:
        click.echo(_table(answer))
    else:
        if "plan" in answer:
            click.echo(_table(answer["plan"]))
        click.echo(_told(answer), err=True)
    sys.exit("shards" not in answer)


def _asked(url: str, body: Any, token: str | None) -> dict[str, Any]:
    """The answer, a plan or a problem. Raises ClickException if it is neither."""
    # Here: it is what takes the longest of `efss-transfer --help`.
    from efss_transfer.client.client import Client
    from efss_transfer.client.errors import ClientError, Problem, UnexpectedAnswer

    try:
        with Client(url, token=(token or "").strip() or None) as client:
            return client.plan(body)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except Problem as problem:
        return problem.document
    except UnexpectedAnswer as error:
        raise click.ClickException(f"What answers at {url} is no efss-transfer: {error}") from None
    except ClientError as error:
        raise click.ClickException(f"{url} cannot be asked: {error}") from None


def _table(plan: dict[str, Any]) -> str:
    rate, seconds, shards = plan["rate"], plan["seconds"], plan["shards"]
    rows = [
        ("to copy", f"{plan['files']:,} files, {_size(plan['bytes'])}"),
        ("there already", f"{plan['there']:,} files"),
    ]
    if "unsized" in plan:
        rows.append(("of unknown size", f"{plan['unsized']:,} files"))
    if "largest" in plan:
        largest = plan["largest"]
        rows.append(("largest", f"{_size(largest['bytes'])}, {_printable(largest['path'])}"))
    if "free" in plan:
        rows.append(("room for", _size(plan["free"])))
    shard = f"{shards['files']:,} files, {_size(shards['bytes'])}, {_time(shards['seconds'])}"
    speed = f"{_size(rate['bytes_per_second'])} or {rate['files_per_second']:g} files a second"
    rows += [
        ("at", f"{speed} ({rate['basis']})"),
        ("one look", _time(seconds["look"])),
        ("in one piece", _time(seconds["transfer"])),
        ("an invocation has", _time(seconds["limit"])),
        ("shards", f"{shards['count']:,}, each of about {shard}"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {what}" for name, what in rows)


def _told(problem: dict[str, Any]) -> str:
    lines = [f"{problem['code']}: {problem.get('detail') or problem.get('title', '')}"]
    for error in problem.get("errors", ()):
        lines.append(f"  {error['pointer'] or '(the whole)'}: {error['message']}")  # noqa: PERF401
    return "\n".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    """A text as one line for a terminal; what could command it is escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def _size(number: float) -> str:
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if unit == _UNITS[0] else f"{number:,.1f} {unit}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
