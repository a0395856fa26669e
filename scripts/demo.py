"""Copies a folder tree from a WebDAV server to an S3 server with one HTTP request.

Nothing is pretended: the function runs in a process of its own, as an operator would run
it, the storages are real servers on loopback, and every byte is compared afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

import requests
from rich.console import Console
from rich.filesize import decimal as size
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from efss_transfer.contract import schemas

# The tests' servers are not installed: only the tests and this need them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import service_process
from support import storages as servers

NDJSON: Final = "application/x-ndjson"
TREE: Final = "Measurements"
BUCKET_PATH: Final = "bucket/2026"
LARGE: Final = 64 << 20
FOLDERS: Final = ("", "raw", "raw/night 1/spectra", "Résultats été", "plots 🎉/100%")
NAMES: Final = (
    "data-{}.bin",
    "with space {}.txt",
    "{}% done.csv",
    "run #{}.log",
    "Größe {}.dat",
    "note 🔬 {}.md",
    "[{}] {{a}}+b&c.txt",
)
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Event = dict[str, Any]


class Failed(Exception):
    """Something that the demo shows is not so; the text tells a person what."""


class Interrupted(BaseException):
    """A signal asks the demo to end. Not an Exception, so that no library swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Signals:
    """The signals that end a program, heeded where what was started is sure to be ended.

    While something is being started or ended they wait: half a start could not be undone,
    and half an end would leave the rest.
    """

    def __init__(self) -> None:
        self._came: int | None = None
        self._heeded = False
        for number in ENDING:
            # nohup ignores SIGHUP, so that what it runs outlives the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._take)

    def _take(self, number: int, _: FrameType | None) -> None:
        self._came = number
        if self._heeded:
            self._heeded = False
            raise Interrupted(number)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Raise Interrupted if a signal comes during the block, or came before it."""
        self._heeded = True
        try:
            if self._came is not None:
                raise Interrupted(self._came)
            yield
        finally:
            self._heeded = False


@dataclass
class Summary:
    """What `--json` prints. `seconds` is the first run's time, from request to last event."""

    files: int
    bytes: int
    seconds: float
    identical: bool
    second_run_skipped: int
    rclone: str
    left_behind: list[str]

    def complaints(self) -> list[str]:
        """What was not as it should be."""
        found = []
        if not self.identical:
            found.append("source and destination are not the same")
        if self.second_run_skipped != self.files:
            found.append(f"the second run skipped {self.second_run_skipped} of {self.files} files")
        if self.left_behind:
            found.append("something was left behind: " + "; ".join(self.left_behind))
        return found


def main() -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Copy some 200 files from a WebDAV server to an S3 server with one HTTP "
        "request, compare every byte, and leave nothing behind. All of it happens on this "
        "machine, and needs no network once scripts/setup has run.",
        epilog="example: scripts/demo --json | python3 -m json.tool",
    )
    parser.add_argument(
        "--json", action="store_true", help="print nothing but a machine-readable summary"
    )
    arguments = parser.parse_args()
    # Asked here, because rich also heeds variables that CI sets where there is no terminal.
    console = Console(
        quiet=arguments.json,
        force_terminal=sys.stdout.isatty(),
        highlight=False,
        markup=False,
        emoji=False,
    )
    signals = Signals()
    try:
        summary = demonstrate(console, signals)
    except Failed as failed:
        print(f"scripts/demo: {failed}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print("scripts/demo: interrupted; all that was started has ended", file=sys.stderr)
        return interrupted.exit_code
    if arguments.json:
        print(json.dumps(asdict(summary)))
    for complaint in summary.complaints():
        print(f"scripts/demo: {complaint}", file=sys.stderr)
    return 1 if summary.complaints() else 0


def demonstrate(console: Console, signals: Signals) -> Summary:
    """Start everything, copy, compare, copy again, end everything."""
    say(console, "Starting a WebDAV server, an S3 server and the function ...")
    # Short names, because the function's sockets are in there, and their paths are limited.
    with TemporaryDirectory(prefix="efss-demo-") as temporary:
        folders = [Path(temporary, name) for name in ("webdav", "run")]
        for folder in folders:
            folder.mkdir()
        with (
            servers.wsgidav(folders[0]) as webdav,
            servers.s3() as s3,
            reachable(folders[1]) as function,
            signals.heeded(),
        ):
            files = tree()
            webdav.fill(TREE, files)
            total = sum(map(len, files.values()))
            say(
                console,
                f"The tree: {len(files)} files, {size(total)}; one of {size(LARGE)}, some empty.",
            )
            request = {
                "id": "demo",
                "source": webdav.endpoint(TREE),
                "destination": {**s3.endpoint(), "path": BUCKET_PATH},
            }
            explain(console, function.url, request)

            with bars(console) if console.is_terminal else lines(console) as show:
                result, seconds = send(function, request, show)
            console.print(table(result, seconds))

            say(
                console, "Comparing: SHA-256 of every file at the source and at the destination ..."
            )
            before, after = webdav.hashes(TREE), s3.hashes(BUCKET_PATH)
            identical = before == after and len(before) == len(files)
            say(console, verdict(before, after, len(files), total))

            again, _ = send(function, request, lambda _: None)
            skipped = again["totals"]["files"]["skipped"]
            say(console, f"The same request again: {skipped} of {len(files)} files were skipped.")
        left = left_behind(folders[1], function.process.pid)
    if Path(temporary).exists():
        left.append(f"folder {temporary}")
    say(console, f"All has ended. Left behind: {', '.join(left) or 'nothing'}.")
    return Summary(
        files=len(files),
        bytes=result["totals"]["bytes"]["transferred"],
        seconds=round(seconds, 3),
        identical=identical,
        second_run_skipped=skipped,
        rclone=result["rclone"]["version"],
        left_behind=left,
    )


def say(console: Console, text: str) -> None:
    """Print a line, which is wrapped by the terminal alone, so that it can be copied."""
    console.print(text, soft_wrap=True)


def tree() -> dict[str, bytes]:
    """Some 200 files in nested folders, named as people name them; a few are empty."""
    files = {"raw/night 1/detector.h5": os.urandom(LARGE)}
    for number in range(1, 200):
        # The two lists' lengths have no common factor: every name is in every folder.
        folder, name = FOLDERS[number % len(FOLDERS)], NAMES[number % len(NAMES)]
        path = f"{folder}/{name.format(number)}".lstrip("/")
        files[path] = os.urandom(0 if number % 20 == 0 else number * 500)
    return files


@contextmanager
def reachable(runtime: Path) -> Iterator[service_process.Function]:
    """The function; where it does not answer, its log says why."""
    try:
        with service_process.function(runtime) as function:
            yield function
    except requests.RequestException as error:
        log = runtime.with_name(f"{runtime.name}.log")
        said = log.read_text("utf-8", "replace").splitlines()[-10:] if log.exists() else []
        raise Failed(
            "\n  ".join([f"the function does not answer ({type(error).__name__}); its log:", *said])
        ) from error
    finally:
        # Whatever happened: a process that died is tidied up after by another, in its own time.
        left_behind(runtime)


def explain(console: Console, url: str, request: dict[str, Any]) -> None:
    """Show what is sent, without its secrets."""
    say(console, f"\nPOST {url}/\nContent-Type: application/json\nAccept: {NDJSON}\n")
    members = {
        name: masked(member) if isinstance(member, dict) else member
        for name, member in request.items()
    }
    body = [f"  {json.dumps(name)}: {json.dumps(member)}" for name, member in members.items()]
    say(console, "{\n" + ",\n".join(body) + "\n}\n")
    say(
        console,
        f"The same by hand: curl --no-buffer --data @request.json --header 'Content-Type: "
        f"application/json' --header 'Accept: {NDJSON}' {url}/\n",
    )


def masked(endpoint: dict[str, Any]) -> dict[str, Any]:
    """The endpoint without what the request's schema calls secret."""
    definition = endpoint["type"].replace(" ", "_") + "_parameters"
    described = schemas.schema("request")["$defs"][definition]["properties"]
    return endpoint | {
        "parameters": {
            name: "***" if described[name].get("writeOnly") else value
            for name, value in endpoint["parameters"].items()
        }
    }


def send(
    function: service_process.Function, request: dict[str, Any], show: Callable[[Event], None]
) -> tuple[Event, float]:
    """Send the request, show the events as they come; the result, and the seconds it took."""
    began = time.monotonic()
    result: Event | None = None
    with function.post(request, headers={"Accept": NDJSON}, stream=True) as response:
        if response.status_code != 200:
            raise Failed(f"the function answered {response.status_code}: {detail(response)}")
        for line in response.iter_lines():
            event = json.loads(line)
            show(event)
            if event["event"] == "result":
                result = event
    if result is None:
        raise Failed("the events ended without a result")
    if result["state"] != "succeeded":
        reasons = [
            f"\n  {group['code']}, {group['count']} times: {group['samples'][0]['message']}"
            for group in result["errors"]
        ]
        raise Failed(f"the transfer ended as {result['state']}" + "".join(reasons))
    return result, time.monotonic() - began


def detail(response: requests.Response) -> str:
    """Why the function said no."""
    with suppress(requests.JSONDecodeError):
        problem = response.json()
        errors = [f"\n  {e['pointer']}: {e['message']}" for e in problem.get("errors", [])[:5]]
        return f"{problem.get('code')}: {problem.get('detail')}" + "".join(errors)
    return response.text[:300]


@contextmanager
def bars(console: Console) -> Iterator[Callable[[Event], None]]:
    """Shows events as bars, which a terminal can draw over again."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )
    files = progress.add_task("files", total=None, note="")
    contents = progress.add_task("bytes", total=None, note="")
    done = 0

    def show(event: Event) -> None:
        nonlocal done
        kind = event["event"]
        if kind == "file":
            done += 1
            progress.update(files, completed=done, note=f"{done}")
        elif kind == "progress":
            moved, expected = event["bytes"]["transferred"], event["bytes"]["expected"]
            progress.update(files, total=event["files"]["expected"])
            progress.update(contents, completed=moved, total=expected, note=pace(event))
        elif kind == "result":
            count, moved = event["totals"]["files"], event["totals"]["bytes"]["transferred"]
            progress.update(files, completed=done, total=done, note=f"{count['transferred']}")
            progress.update(contents, completed=moved, total=moved, note=size(moved))

    with progress:
        yield show


@contextmanager
def lines(console: Console) -> Iterator[Callable[[Event], None]]:
    """Shows events as lines, for a pipe or a log."""
    began = due = time.monotonic()

    def show(event: Event) -> None:
        nonlocal due
        now = time.monotonic()
        if event["event"] == "progress" and now >= due:
            # The longer it takes, the rarer: a slow machine's log stays readable, too.
            due = now + (now - began) / 4
            count = event["files"]
            say(
                console,
                f"progress: {count['transferred']} of {count['expected']} files, {pace(event)}",
            )
        elif event["event"] == "result":
            totals = event["totals"]
            count, moved = totals["files"]["transferred"], totals["bytes"]["transferred"]
            say(console, f"progress: {count} files, {size(moved)}, done")

    yield show


def pace(event: Event) -> str:
    """How much, how fast, how long still."""
    moved, expected = event["bytes"]["transferred"], event["bytes"]["expected"]
    text = f"{size(moved)} of {size(expected)}, {size(int(event['bytes_per_second']))}/s"
    return f"{text}, {event['eta_seconds']:.0f} s left" if "eta_seconds" in event else text


def table(result: Event, seconds: float) -> Table:
    """The result, for a person."""
    shown = Table(title="Result", title_justify="left", show_header=False)
    files, rclone = result["totals"]["files"], result["rclone"]
    moved = result["totals"]["bytes"]["transferred"]
    for name, value in (
        ("state", result["state"]),
        *((f"files {state}", str(files[state])) for state in ("transferred", "skipped", "failed")),
        ("bytes", f"{moved:,} ({size(moved)})"),
        ("seconds", f"{seconds:.2f} ({size(int(moved / seconds))}/s)"),
        ("rclone", rclone["version"]),
        ("exit code", str(rclone["exit_code"])),
    ):
        shown.add_row(name, value)
    return shown


def verdict(before: dict[str, str], after: dict[str, str], count: int, total: int) -> str:
    """Whether the two sides are the same; what differs, with a few examples of each kind."""
    if before == after:
        return f"Identical: {len(before)} of {count} files, {total:,} bytes."
    kinds = {
        "missing": before.keys() - after.keys(),
        "unexpected": after.keys() - before.keys(),
        "different": {path for path in before.keys() & after.keys() if before[path] != after[path]},
    }
    return "NOT identical: " + "; ".join(
        f"{len(paths)} {kind}, such as {sorted(paths)[:3]}"
        for kind, paths in kinds.items()
        if paths
    )


def left_behind(runtime: Path, group: int | None = None) -> list[str]:
    """What remains of a function that has ended, and of the process group that it led."""
    until = time.monotonic() + 10
    while (left := service_process.leftovers(runtime)) and time.monotonic() < until:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        if group is not None:
            os.killpg(group, 0)
            left.append(f"process group {group}")
    return left


if __name__ == "__main__":
    sys.exit(main())
