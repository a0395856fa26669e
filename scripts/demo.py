"""Copies a folder tree from a WebDAV server to an S3 server with one HTTP request.

All parts are real: the service runs in a process of its own, as an operator would run it, the
storages are servers on the loopback interface, and every byte is compared afterwards.
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

import demo_display as display
from demo_display import NDJSON, Event, say

# The tests' servers are not installed: only the tests and this script need them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import service_process
from support import storages as servers

FOLDER: Final = "Measurements"
BUCKET_PATH: Final = "bucket/2026"
LARGEST_BYTES: Final = 64 << 20
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
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoFailed(Exception):
    """The demo cannot show what it promises; the text gives the reason."""


class Interrupted(BaseException):
    """A signal ends the demo. Not an Exception, so that no library swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class SignalHandler:
    """Defers signals while servers start or stop, so that none is left half started."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._raising = False
        for number in SIGNALS:
            # nohup ignores SIGHUP, so that its program outlives the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._received = number
        if self._raising:
            self._raising = False
            raise Interrupted(number)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise Interrupted if a signal arrives during the block, or arrived before it."""
        self._raising = True
        try:
            if self._received is not None:
                raise Interrupted(self._received)
            yield
        finally:
            self._raising = False


@dataclass
class Summary:
    """The output of `--json`. `seconds` is the time of the first transfer, request included."""

    files: int
    bytes: int
    seconds: float
    identical: bool
    second_run_skipped: int
    rclone: str
    left_behind: list[str]

    def failures(self) -> list[str]:
        """Every expectation that does not hold."""
        found = []
        if not self.identical:
            found.append("source and destination differ")
        if self.second_run_skipped != self.files:
            found.append(f"the second run skipped {self.second_run_skipped} of {self.files} files")
        if self.left_behind:
            found.append("left behind: " + "; ".join(self.left_behind))
        return found


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Copy 200 files from a WebDAV server to an S3 server with one HTTP request, "
        "compare every byte, and clean up. Everything runs on this machine; the network is "
        "needed only by scripts/setup, which installs the dependencies once.",
        epilog="example: scripts/demo --json | python3 -m json.tool",
    )
    parser.add_argument("--json", action="store_true", help="print only a summary, as JSON")
    arguments = parser.parse_args()
    # Set explicitly, because rich also obeys variables that CI sets where there is no terminal.
    console = Console(
        quiet=arguments.json,
        force_terminal=sys.stdout.isatty(),
        highlight=False,
        markup=False,
        emoji=False,
    )
    handler = SignalHandler()
    try:
        summary = demonstrate(console, handler)
    except DemoFailed as failed:
        print(f"scripts/demo: {failed}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print("scripts/demo: interrupted; all servers have been stopped", file=sys.stderr)
        return interrupted.exit_code
    if arguments.json:
        print(json.dumps(asdict(summary)))
    for failure in summary.failures():
        print(f"scripts/demo: failed: {failure}", file=sys.stderr)
    return 1 if summary.failures() else 0


def demonstrate(console: Console, handler: SignalHandler) -> Summary:
    """Start the servers, copy, compare, copy again, stop the servers."""
    say(console, "Starting a WebDAV server, an S3 server and the service ...")
    # Short names, because unix socket paths inside it are limited in length.
    with TemporaryDirectory(prefix="efss-demo-") as temporary:
        folders = [Path(temporary, name) for name in ("webdav", "run")]
        for folder in folders:
            folder.mkdir()
        with (
            servers.wsgidav(folders[0]) as webdav,
            servers.s3() as s3,
            running_service(folders[1]) as service,
            handler.raised(),
        ):
            files = example_files()
            webdav.fill(FOLDER, files)
            total = sum(map(len, files.values()))
            say(
                console,
                f"Source: folder {FOLDER} on the WebDAV server, {len(files)} files, {size(total)}; "
                f"the largest has {size(LARGEST_BYTES)}, some are empty.\n"
                f"Destination: {BUCKET_PATH} on the S3 server, empty.\n"
                "One request copies all of it:",
            )
            request = {
                "id": "demo",
                "source": webdav.endpoint(FOLDER),
                "destination": {**s3.endpoint(), "path": BUCKET_PATH},
            }
            display.show_request(console, service.url, request)

            with display.progress(console) as show:
                result, seconds = send(service, request, show)
            console.print(display.result_table(result, seconds))

            say(console, "Comparing the SHA-256 of every file on both sides ...")
            before, after = webdav.hashes(FOLDER), s3.hashes(BUCKET_PATH)
            identical = before == after and len(before) == len(files)
            say(console, display.comparison(before, after, len(files), total))

            again, _ = send(service, request, lambda _: None)
            skipped = again["totals"]["files"]["skipped"]
            text = f"Sent the same request again: {skipped} of {len(files)} files skipped, because"
            say(console, f"{text} they are already there.")
        left = left_behind(folders[1], service.process.pid)
    if Path(temporary).exists():
        left.append(f"folder {temporary}")
    say(console, f"Stopped all servers. Left behind: {', '.join(left) or 'nothing'}.")
    say(console, "Next: copy between your own storages, see docs/tutorial.md.")
    return Summary(
        files=len(files),
        bytes=result["totals"]["bytes"]["transferred"],
        seconds=round(seconds, 3),
        identical=identical,
        second_run_skipped=skipped,
        rclone=result["rclone"]["version"],
        left_behind=left,
    )


def example_files() -> dict[str, bytes]:
    """200 files in nested folders, with names as people choose them; some files are empty."""
    files = {"raw/night 1/detector.h5": os.urandom(LARGEST_BYTES)}
    for number in range(1, 200):
        # The lengths of the two lists have no common factor, so every name is in every folder.
        folder, name = FOLDERS[number % len(FOLDERS)], NAMES[number % len(NAMES)]
        path = f"{folder}/{name.format(number)}".lstrip("/")
        files[path] = os.urandom(0 if number % 20 == 0 else number * 500)
    return files


@contextmanager
def running_service(runtime: Path) -> Iterator[service_process.Function]:
    """The service; if it does not respond, DemoFailed quotes the end of its log."""
    try:
        with service_process.function(runtime) as service:
            yield service
    except requests.RequestException as error:
        log = runtime.with_name(f"{runtime.name}.log")
        tail = log.read_text("utf-8", "replace").splitlines()[-10:] if log.exists() else []
        reason = f"the service does not respond ({type(error).__name__}); the end of its log:"
        raise DemoFailed("\n  ".join([reason, *tail])) from error
    finally:
        # After a crash another process cleans up, in its own time; wait for that.
        left_behind(runtime)


def send(
    service: service_process.Function, request: dict[str, Any], show: Callable[[Event], None]
) -> tuple[Event, float]:
    """Send the request and show its events; returns the result and the elapsed seconds."""
    began = time.monotonic()
    result: Event | None = None
    with service.post(request, headers={"Accept": NDJSON}, stream=True) as response:
        if response.status_code != 200:
            raise DemoFailed(
                f"the service responded with status {response.status_code}: {detail(response)}"
            )
        for line in response.iter_lines():
            event = json.loads(line)
            show(event)
            if event["event"] == "result":
                result = event
    if result is None:
        raise DemoFailed("the stream of events ended without a result")
    if result["state"] != "succeeded":
        reasons = [
            f"\n  {group['code']}, {group['count']} times: {group['samples'][0]['message']}"
            for group in result["errors"]
        ]
        raise DemoFailed(f"the transfer ended as {result['state']}" + "".join(reasons))
    return result, time.monotonic() - began


def detail(response: requests.Response) -> str:
    """The reason in a problem document, or the beginning of another response."""
    with suppress(requests.JSONDecodeError):
        problem = response.json()
        errors = [f"\n  {e['pointer']}: {e['message']}" for e in problem.get("errors", [])[:5]]
        return f"{problem.get('code')}: {problem.get('detail')}" + "".join(errors)
    return response.text[:300]


def left_behind(runtime: Path, group: int | None = None) -> list[str]:
    """Files and processes that remain of a stopped service, after at most ten seconds."""
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
