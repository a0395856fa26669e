"""`efss-transfer merge`: the results of a transfer's shards, wherever they were copied, as one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from efss_transfer.cli.transfer import read_input

if TYPE_CHECKING:
    from efss_transfer.model.result import Result


@click.command()
@click.argument("results", metavar="RESULT.json...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON, for programs.")
def merge(results: tuple[str, ...], as_json: bool) -> None:
    """Make one result of those of a transfer's shards.

    Each file holds a result or a problem, or lines of them, or a service's events; - is stdin.
    Of a shard there may be several, which followed one another. Totals are exact, and a shard
    without a result is told as a failure.

    Exits as `copy` does.

    \b
    Examples:
      efss-transfer merge result.0.json result.1.json
      efss-transfer merge --json - <results.ndjson
    """
    from efss_transfer.cli import exit_codes, summary
    from efss_transfer.client import merge as client_merge

    found: list[Result] = []
    unread = 0
    for file in results:
        for document in _documents(read_input(file).decode("utf-8", "replace")):
            if isinstance(document, dict) and document.get("event", "result") != "result":
                continue  # on the way to one
            result = _result(document)
            if result is None:
                unread += 1
            else:
                found.append(result)
    try:
        merged = client_merge.gathered(found)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if unread:
        text = f"{unread} of what was given {'is no result' if unread == 1 else 'are no results'}"
        # With shards it is known which are missing; without, nobody would notice.
        if found[0].shard is None:
            raise click.UsageError(f"{text}.")
        click.echo(f"warning: {text}, and not counted.", err=True)
    if as_json:
        click.echo(json.dumps(merged.to_json(), ensure_ascii=False))
    else:
        summary.tell(merged, len(found))
    sys.exit(exit_codes.of_result(merged))


def _documents(text: str) -> Iterator[Any]:
    """What stands in a text: one document of JSON, or one in each line that is not empty."""
    try:
        yield json.loads(text)
        return
    except ValueError:
        pass
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError:
            yield None


def _result(document: Any) -> Result | None:
    """The result in a document, None if there is none in it."""
    from efss_transfer.client import decoding

    try:
        return decoding.result(document.get("result", document))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
