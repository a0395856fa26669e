"""Shows the demo's request, progress and result on a terminal, in a pipe or in a log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal as size
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from efss_transfer.contract import schemas

NDJSON: Final = "application/x-ndjson"

Event = dict[str, Any]


def say(console: Console, text: str) -> None:
    """Print a line; only the terminal wraps it, so that it can be copied."""
    console.print(text, soft_wrap=True)


def show_request(console: Console, url: str, request: dict[str, Any]) -> None:
    """Show the HTTP request, with its secrets masked."""
    say(console, f"\nPOST {url}/\nContent-Type: application/json\nAccept: {NDJSON}\n")
    members = {
        name: masked(member) if isinstance(member, dict) else member
        for name, member in request.items()
    }
    body = [f"  {json.dumps(name)}: {json.dumps(member)}" for name, member in members.items()]
    say(console, "{\n" + ",\n".join(body) + "\n}\n")
    say(
        console,
        "The same with curl, if request.json holds this request with its secrets:\n"
        f"curl --no-buffer --data @request.json --header 'Content-Type: application/json' "
        f"--header 'Accept: {NDJSON}' {url}/\n",
    )


def masked(endpoint: dict[str, Any]) -> dict[str, Any]:
    """The endpoint with `***` for every parameter that the schema marks as secret."""
    definition = endpoint["type"].replace(" ", "_") + "_parameters"
    properties = schemas.schema("request")["$defs"][definition]["properties"]
    return endpoint | {
        "parameters": {
            name: "***" if properties[name].get("writeOnly") else value
            for name, value in endpoint["parameters"].items()
        }
    }


@contextmanager
def progress(console: Console) -> Iterator[Callable[[Event], None]]:
    """A function that shows events: as bars on a terminal, otherwise as lines."""
    with _bars(console) if console.is_terminal else _lines(console) as show:
        yield show


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[Event], None]]:
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )
    files = bars.add_task("files", total=None, note="")
    contents = bars.add_task("bytes", total=None, note="")
    done = 0

    def show(event: Event) -> None:
        nonlocal done
        kind = event["event"]
        if kind == "file":
            done += 1
            bars.update(files, completed=done, note=f"{done}")
        elif kind == "progress":
            moved, expected = event["bytes"]["transferred"], event["bytes"]["expected"]
            bars.update(files, total=event["files"]["expected"])
            bars.update(contents, completed=moved, total=expected, note=_pace(event))
        elif kind == "result":
            count, moved = event["totals"]["files"], event["totals"]["bytes"]["transferred"]
            bars.update(files, completed=done, total=done, note=f"{count['transferred']}")
            bars.update(contents, completed=moved, total=moved, note=size(moved))

    with bars:
        yield show


@contextmanager
def _lines(console: Console) -> Iterator[Callable[[Event], None]]:
    began = due = time.monotonic()

    def show(event: Event) -> None:
        nonlocal due
        now = time.monotonic()
        if event["event"] == "progress" and now >= due:
            # The interval grows with the elapsed time, so a slow machine's log stays short, too.
            due = now + (now - began) / 4
            count = event["files"]
            say(
                console,
                f"progress: {count['transferred']} of {count['expected']} files, {_pace(event)}",
            )
        elif event["event"] == "result":
            totals = event["totals"]
            count, moved = totals["files"]["transferred"], totals["bytes"]["transferred"]
            say(console, f"progress: {count} files, {size(moved)}, done")

    yield show


def _pace(event: Event) -> str:
    """Bytes so far, rate, and remaining time."""
    moved, expected = event["bytes"]["transferred"], event["bytes"]["expected"]
    text = f"{size(moved)} of {size(expected)}, {size(int(event['bytes_per_second']))}/s"
    return f"{text}, {event['eta_seconds']:.0f} s left" if "eta_seconds" in event else text


def result_table(result: Event, seconds: float) -> Table:
    """The result as a table."""
    table = Table(title="Result", title_justify="left", show_header=False)
    files, rclone = result["totals"]["files"], result["rclone"]
    moved = result["totals"]["bytes"]["transferred"]
    for name, value in (
        ("state", result["state"]),
        *((f"files {state}", str(files[state])) for state in ("transferred", "skipped", "failed")),
        ("bytes", f"{moved:,} ({size(moved)})"),
        ("seconds", f"{seconds:.2f} ({size(int(moved / seconds))}/s)"),
        ("rclone version", rclone["version"]),
        ("rclone exit code", str(rclone["exit_code"])),
    ):
        table.add_row(name, value)
    return table


def comparison(before: dict[str, str], after: dict[str, str], count: int, total: int) -> str:
    """Whether both sides hold the same files; if not, up to three paths of each difference."""
    if before == after:
        return f"Identical: {len(before)} of {count} files, {total:,} bytes."
    differences = {
        "missing": before.keys() - after.keys(),
        "unexpected": after.keys() - before.keys(),
        "different": {path for path in before.keys() & after.keys() if before[path] != after[path]},
    }
    return "NOT identical: " + "; ".join(
        f"{len(paths)} {kind}, for example {sorted(paths)[:3]}"
        for kind, paths in differences.items()
        if paths
    )
