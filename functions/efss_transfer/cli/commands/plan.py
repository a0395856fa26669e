"""`efss-transfer plan`: estimate a transfer without copying."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from efss_transfer.cli.formatting import duration, files, printable, size
from efss_transfer.cli.inputs import read_input
from efss_transfer.cli.options import ConnectionOptions, connection_options
from efss_transfer.cli.param_types import Name
from efss_transfer.cli.request_options import (
    members,
    read_endpoints,
    request_options,
    show_hints,
)
from efss_transfer.cli.services import clients, plan_by_first_reachable


@click.command()
@click.argument("request", metavar="SOURCE DESTINATION | REQUEST.json", nargs=-1, type=Name())
@request_options
@connection_options
@click.option("--rate", type=float, help="Expected throughput in bytes per second.")
@click.option("--files-per-second", type=float, help="Expected rate of small files per second.")
@click.option("--seconds", type=float, help="Time limit of one invocation, in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the service's answer as JSON.")
def plan(
    request: tuple[str, ...],
    endpoints: Path | None,
    files_from: str | None,
    connection: ConnectionOptions,
    as_json: bool,
    rate: float | None,
    files_per_second: float | None,
    seconds: float | None,
    **chosen: Any,
) -> None:
    """Estimate a transfer without copying anything.

    SOURCE and DESTINATION are NAME:PATH, as for `copy`. REQUEST.json is a transfer request, or -
    for stdin. The service lists both sides once, which can take a while. Rates that are not given
    are measured; the time limit is the service's own.

    Exits with 0 if the transfer can work, with 1 if it cannot or if the plan failed.

    \b
    Examples:
      efss-transfer plan cloud:Measurements archive:2026
      efss-transfer plan request.json --seconds 840 --rate 50000000
    """
    estimates = {"rate": rate, "files_per_second": files_per_second, "seconds": seconds}
    selected = members(chosen, files_from)
    known = None
    body: Any
    if len(request) == 2:
        known, body = read_endpoints(endpoints, *request)
        body |= selected
    else:
        if len(request) != 1 or selected:
            raise click.UsageError(
                "Give SOURCE and DESTINATION, with the options that select files; or a file with "
                "a request, without them."
            )
        body = _read_request(request[0])
    given = {name: value for name, value in estimates.items() if value is not None}
    if isinstance(body, dict) and given:
        asked = body.get("plan")
        body["plan"] = {**asked, **given} if isinstance(asked, dict) else given
    if sys.stderr.isatty():
        click.echo("Listing both sides …", err=True)
    answer = _plan_or_problem(connection, body)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    elif "shards" in answer:
        click.echo(_table(answer))
    else:
        if "plan" in answer:
            click.echo(_table(answer["plan"]))
        click.echo(_problem_text(answer), err=True)
        if known is not None and answer.get("code") == "forbidden":
            show_hints(known, *request)
    sys.exit("shards" not in answer)


def _read_request(file: str) -> Any:
    """Return the request of a file, or of standard input. Raises click.ClickException."""
    try:
        return json.loads(read_input(file))
    except ValueError:
        name = "<stdin>" if file == "-" else file
        raise click.ClickException(f"{name} is not JSON.") from None


def _plan_or_problem(connection: ConnectionOptions, body: Any) -> dict[str, Any]:
    """Return the service's answer, a plan or a problem. Raises ClickException for any other."""
    from efss_transfer.client.errors import ClientError, Problem, UnexpectedAnswer

    urls = " or ".join(connection.url)
    try:
        return plan_by_first_reachable(clients(connection), body)
    except Problem as problem:
        return problem.document
    except UnexpectedAnswer as error:
        raise click.ClickException(
            f"{urls} is not an efss-transfer service: {error} Check --url."
        ) from None
    except ClientError as error:
        raise click.ClickException(f"{urls} gave no plan: {error}") from None


def _table(plan: dict[str, Any]) -> str:
    rate, seconds, shards = plan["rate"], plan["seconds"], plan["shards"]
    rows = [
        ("to copy", f"{files(plan['files'])}, {size(plan['bytes'])}"),
        ("already there", files(plan["there"])),
    ]
    if "unsized" in plan:
        rows.append(("of unknown size", files(plan["unsized"])))
    if "largest" in plan:
        largest = plan["largest"]
        rows.append(("largest file", f"{size(largest['bytes'])}, {printable(largest['path'])}"))
    if "free" in plan:
        rows.append(("free space", size(plan["free"])))
    shard = f"{files(shards['files'])}, {size(shards['bytes'])}, {duration(shards['seconds'])}"
    each = shard if shards["count"] == 1 else f"each about {shard}"
    speed = f"{size(rate['bytes_per_second'])}/s, {rate['files_per_second']:g} small files/s"
    rows += [
        ("assumed rates", f"{speed} ({rate['basis']})"),
        ("listing", duration(seconds["look"])),
        ("whole transfer", duration(seconds["transfer"])),
        ("time limit", f"{duration(seconds['limit'])} per invocation"),
        ("shards", f"{shards['count']:,}, {each}"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def _problem_text(problem: dict[str, Any]) -> str:
    lines = [f"{problem['code']}: {problem.get('detail') or problem.get('title', '')}"]
    lines += [
        f"  {error['pointer'] or '(entire request)'}: {error['message']}"
        for error in problem.get("errors", ())
    ]
    return "\n".join(map(printable, lines))
