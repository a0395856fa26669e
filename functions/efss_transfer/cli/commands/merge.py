"""`efss-transfer merge`: merge the results of a transfer's shards into one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from efss_transfer.cli.inputs import read_input

if TYPE_CHECKING:
    from efss_transfer.model.result import Result


@click.command()
@click.argument("results", metavar="RESULT.json...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def merge(results: tuple[str, ...], as_json: bool) -> None:
    """Merge the results of a transfer's shards into one.

    Each file holds one result or problem, several of them (one a line), or a service's events;
    - is stdin. A shard may have several results, one for each invocation. Totals are exact. A
    shard without a result is reported as a failure.

    Exits as `copy` does.

    \b
    Examples:
      efss-transfer merge result.0.json result.1.json
      efss-transfer merge --json - <results.ndjson
    """
    from efss_transfer.cli import exit_codes, summary
    from efss_transfer.client import merge as client_merge

    found: list[Result] = []
    invalid = 0
    for file in results:
        for document in _documents(read_input(file).decode("utf-8", "replace")):
            if isinstance(document, dict) and document.get("event", "result") != "result":
                continue  # an event before the result
            result = _result(document)
            if result is None:
                invalid += 1
            else:
                found.append(result)
    try:
        merged = client_merge.gathered(found)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if invalid:
        text = (
            "1 document is not a result" if invalid == 1 else f"{invalid} documents are not results"
        )
        # Shards have numbers, so the merged result says which are missing. Without shards a
        # missing result would go unnoticed.
        if found[0].shard is None:
            raise click.UsageError(f"{text}.")
        click.echo(f"warning: {text}: ignored.", err=True)
    if as_json:
        click.echo(json.dumps(merged.to_json(), ensure_ascii=False))
    else:
        summary.show(merged, len(found), summary.RUN_SHARDS_AGAIN)
    sys.exit(exit_codes.of_result(merged))


def _documents(text: str) -> Iterator[Any]:
    """Parse one JSON document, or one a line; None for a line that is not JSON."""
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
    """Return the result in a document, or None."""
    from efss_transfer.client import decoding

    try:
        return decoding.result(document.get("result", document))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
