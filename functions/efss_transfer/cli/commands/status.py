"""`efss-transfer status`: tell how far a copy is that goes on without the service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from efss_transfer.cli import exit_codes
from efss_transfer.cli.commands.copy import copy_options
from efss_transfer.cli.formatting import files, size
from efss_transfer.cli.options import LookOptions, look_options
from efss_transfer.cli.param_types import Name
from efss_transfer.cli.request_options import (
    members,
    read_endpoints,
    request_options,
    show_hints,
)
from efss_transfer.cli.services import ask_first_reachable, look_services, problem, show_problem

if TYPE_CHECKING:
    from efss_transfer.cli.services import AnyService
    from efss_transfer.model.events import Progress
    from efss_transfer.model.result import Result

_BAR: Final = 30


@click.command()
@click.argument("source", type=Name())
@click.argument("destination", type=Name())
@request_options
@copy_options
@look_options
def status(
    source: str,
    destination: str,
    endpoints: Path | None,
    files_from: str | None,
    name: str | None,
    look: LookOptions,
    **chosen: Any,
) -> None:
    """Tell how far a copy is that was started with `copy --detach`. Nothing is started.

    Give it the arguments of that copy: the service keeps nothing, and finds the copy by what it
    copies. With --json it prints one object with `status`: `complete`, `running`, `missing` (files
    are missing, and nothing copies them) or `failed`, with the `progress` and the `result`.

    Exits with 0 if every file is there, with 10 while the copy runs, with 9 if files are missing
    and nothing copies them, and otherwise as `copy` does.

    \b
    Examples:
      efss-transfer status --engine fts eos:run-42 dcache:run-42
      efss-transfer status --engine fts --json eos:run-42 dcache:run-42
    """
    from efss_transfer.client.errors import ClientError

    known, request = read_endpoints(endpoints, source, destination)
    if name is not None:
        request["id"] = name
    request |= members({**chosen, "detach": True, "dry_run": True}, files_from)
    try:
        found = ask_first_reachable(look_services(look), partial(_ask, request))
    except ClientError as error:
        if look.as_json:
            click.echo(json.dumps(problem(error), ensure_ascii=False))
        else:
            show_problem(error, f"{source} {destination}")
            show_hints(known, source, destination)
        sys.exit(exit_codes.of_error(error))
    result, progress = found
    word, code = _judged(result)
    if look.as_json:
        click.echo(json.dumps(_document(word, result, progress), ensure_ascii=False))
    else:
        _show(word, result, progress)
    sys.exit(code)


def _ask(request: dict[str, Any], service: AnyService) -> tuple[Result, Progress | None]:
    """Send the request once. Return its result, and the last progress before it."""
    from efss_transfer.model.events import Finished, Progress

    progress: Progress | None = None
    with closing(service.stream(request)) as running:
        for event in running:
            if isinstance(event, Progress):
                progress = event
            elif isinstance(event, Finished):
                return event.result, progress
    raise AssertionError("a transfer ended without a result")


def _judged(result: Result) -> tuple[str, int]:
    """Return the word for a result, and the exit code."""
    from efss_transfer.model.result import State

    if result.is_still_running:
        return "running", exit_codes.TIME_LIMIT
    if result.state is not State.SUCCEEDED:
        return "failed", exit_codes.of_result(result)
    if _missing(result):
        return "missing", exit_codes.NO_TRANSFER
    return "complete", exit_codes.OK


def _document(word: str, result: Result, progress: Progress | None) -> dict[str, Any]:
    document: dict[str, Any] = {"status": word}
    if progress is not None:
        document["progress"] = {k: it for k, it in progress.to_json().items() if k != "event"}
    return {**document, "result": result.to_json()}


def _show(word: str, result: Result, progress: Progress | None) -> None:
    if word == "failed":
        from efss_transfer.cli import summary

        summary.show(result, 1, advice="")
        return
    for line in _lines(word, result, progress):
        click.echo(line)


def _lines(word: str, result: Result, progress: Progress | None) -> Iterator[str]:
    there = result.totals.transferred + result.totals.skipped - _missing(result)
    if word == "complete":
        yield f"Copy complete: {files(there)} at the destination."
    elif word == "missing":
        missing = f"{files(_missing(result))} missing, {size(result.totals.dry_run_bytes)}"
        yield f"Nothing runs: {missing}, {there:,} there. To copy them, run `efss-transfer copy`."
    elif progress is None:
        yield f"The copy runs: {files(there)} so far."
    else:
        yield "The copy runs."
        yield _bar(progress)


def _bar(progress: Progress) -> str:
    moved, expected = progress.current_bytes, progress.expected_bytes
    done, whole = (moved, expected) if expected else (0, 1)
    share = min(done / whole, 1.0)
    filled = "#" * int(share * _BAR)
    totals = progress.totals
    counts = f"{totals.transferred:,} of {files(progress.expected_files)}"
    failed = f", {totals.failed:,} failed" if totals.failed else ""
    return (
        f"[{filled:<{_BAR}}] {share:.0%}  {size(moved)} of {size(expected)}, {counts}{failed}, "
        f"{size(progress.speed)}/s"
    )


def _missing(result: Result) -> int:
    from efss_transfer.model.result import Reason

    return result.totals.reasons.get(Reason.DRY_RUN, 0)
