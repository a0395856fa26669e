"""`efss-transfer ls`: list a folder of an endpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from efss_transfer.cli import exit_codes
from efss_transfer.cli.formatting import printable, size
from efss_transfer.cli.options import LookOptions, look_options
from efss_transfer.cli.param_types import Name
from efss_transfer.cli.request_options import (
    ENDPOINTS_OPTION,
    ENGINE_OF_A_LOOK,
    read_each,
    show_hints,
    with_path,
)
from efss_transfer.cli.services import ask_first_reachable, look_services, problem, show_problem


@click.command()
@click.argument("endpoint", metavar="ENDPOINT[:PATH]", type=Name())
@ENDPOINTS_OPTION
@click.option(
    "--limit", type=click.IntRange(1, 10_000), help="Maximum number of entries. [default: 1000]"
)
@ENGINE_OF_A_LOOK
@look_options
def ls(
    endpoint: str,
    endpoints: Path | None,
    limit: int | None,
    engine: str | None,
    look: LookOptions,
) -> None:
    """List a folder: sizes, times and names.

    ENDPOINT is one of your endpoints file, or a storage that the service's site file defines. The
    folders below are not listed. Folders come first, and end in /. In a pipe each entry is a line
    with size, time (UTC) and name, separated by tabs.

    Exits with 0 if the folder was listed, with 6 if entries of it cannot be read, and otherwise as
    `copy` does: 3 not found, 5 temporary failure, 7 refused.

    \b
    Examples:
      efss-transfer ls cloud:Measurements
      efss-transfer ls archive:2026 --limit 20
      efss-transfer ls cloud: --json
      efss-transfer ls eos:run-42 --engine tpc
    """
    from efss_transfer.client.errors import ClientError

    known, (asked,) = read_each(endpoints, with_path(endpoint))
    try:
        listing = ask_first_reachable(
            look_services(look), lambda service: service.list(asked, limit=limit, engine=engine)
        )
    except ClientError as error:
        if look.as_json:
            click.echo(json.dumps(problem(error), ensure_ascii=False))
        else:
            show_problem(error, endpoint)
            show_hints(known, endpoint)
        sys.exit(exit_codes.of_error(error))
    if look.as_json:
        click.echo(json.dumps(listing, ensure_ascii=False))
    else:
        _show(listing)
    sys.exit(exit_codes.FILES_FAILED if listing["errors"] else exit_codes.OK)


def _show(listing: dict[str, Any]) -> None:
    entries = listing["entries"]
    for line in _table(entries) if sys.stdout.isatty() else _lines(entries):
        click.echo(line)
    if listing["truncated"]:
        text = f"{len(entries):,} of {listing['count']:,} entries are shown"
        more = "." if len(entries) >= 10_000 else "; --limit shows up to 10,000."
        click.echo(text + more, err=True)
    for group in listing["errors"]:
        sample = group["samples"][0] if group["samples"] else {"message": ""}
        where = f" ({sample['path']})" if sample.get("path") else ""
        entries_text = "1 entry" if group["count"] == 1 else f"{group['count']:,} entries"
        text = f"{group['code']}: {entries_text} cannot be read{where}: {sample['message']}"
        click.echo(printable(text), err=True)


def _table(entries: list[dict[str, Any]]) -> Iterator[str]:
    sizes = [size(it["size"]) if "size" in it else "-" for it in entries]
    width = max(map(len, sizes), default=0)
    for entry, shown in zip(entries, sizes, strict=True):
        modified = "-"
        if "modified" in entry:
            modified = f"{datetime.fromisoformat(entry['modified']).astimezone():%Y-%m-%d %H:%M}"
        yield f"{shown:>{width}}  {modified:16}  {_name(entry)}"


def _lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        yield f"{entry.get('size', '-')}\t{entry.get('modified', '-')}\t{_name(entry)}"


def _name(entry: dict[str, Any]) -> str:
    return printable(entry["name"]) + ("/" if entry["type"] == "folder" else "")
