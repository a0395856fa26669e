"""Kills, cuts and fills what takes part in a copy at random moments, and checks each answer.

No answer may be a wrong success, no process or file may be left here, no file may be there in part,
no answer may come late, and the same request must complete the copy once all works again. Then
servers that misbehave in generated ways are copied from and to, and as often stand-ins of Nextcloud
and OpenCloud that lie in their own dialects.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fault_runs import DIRECTIONS, FAULTS, Tally
from fault_workers import FaultTask, run_all

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "faults.json"
PAGE: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures of scripts/faults -->"
END: Final = "<!-- end -->"
_TESTS: Final = (
    "tests/integration/failures/test_misbehaving_servers.py::test_success_is_never_wrong",
    "tests/integration/failures/test_lying_dialects.py::test_success_is_never_wrong_in_any_dialect",
)
_COLUMNS: Final = (
    "runs",
    "wrong_successes",
    "wrong_files",
    "orphans",
    "partial_files",
    "hangs",
    "not_completed",
)
console = Console(stderr=True)


def main() -> int:
    """Make the runs, and show what went wrong; the exit code is 1 if anything did."""
    arguments = _parser().parse_args()
    # Exit by an exception, so that SIGTERM stops the service and the servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": 0,
        "jobs": arguments.jobs,
        "faults": {},
        "generated": None,
    }
    if arguments.points:
        figures["faults"] = _fault_runs(arguments)
    if arguments.generated:
        figures["generated"] = _generated(arguments.generated, arguments.jobs)
    figures["seconds"] = round(time.monotonic() - began)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        Console().print(_table(figures))
    if arguments.save:
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
        write_page(figures)
    return int(not is_clean(figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/faults",
        description=__doc__,
        epilog='example: scripts/faults --points 1 --only "rclone killed" --generated 0',
    )
    parser.add_argument(
        "--points", type=int, default=20, metavar="N", help="moments for each fault (20)"
    )
    parser.add_argument(
        "--generated",
        type=int,
        default=1000,
        metavar="N",
        help="copies between servers that misbehave in generated ways, half of them stand-ins of "
        "Nextcloud and OpenCloud (1000)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=4 * (os.cpu_count() or 1),
        metavar="N",
        help="processes at a time, each with its own servers; most of them wait (4 for each core)",
    )
    parser.add_argument("--only", choices=FAULTS, help="this fault alone")
    parser.add_argument("--seed", type=int, default=0, help="choose other moments")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--save", action="store_true", help="write docs/faults.json and the page")
    return parser


def _fault_runs(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    faults = [arguments.only] if arguments.only else list(FAULTS)
    tallies = {fault: Tally() for fault in faults}
    # The longest faults come last in the list of faults, and first here: no worker waits for one.
    tasks = [
        FaultTask(direction, fault, f"{arguments.seed}-{point}")
        for fault in reversed(faults)
        for direction in DIRECTIONS
        for point in range(arguments.points)
    ]
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("faults", total=len(tasks))
        for task, tally, lines in run_all(tasks, arguments.jobs):
            tallies[task.fault].add(tally)
            progress.advance(bar)
            for line in lines:
                console.print(f"{task.direction}: {line}", markup=False, highlight=False)
    return {fault: asdict(tally) for fault, tally in tallies.items()}


def _generated(number: int, jobs: int) -> dict[str, int]:
    """Run the property tests with other examples in each of `jobs` processes, half of them each."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        made = Path(folder) / "made"
        made.touch()
        stops = []
        for job in range(min(jobs, number)):
            count = number // jobs + (job < number % jobs)
            environment = {
                **os.environ,
                "GENERATED_COPIES": str(count),
                "GENERATED_COPIES_MADE": str(made),
            }
            command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
            output = stack.enter_context((Path(folder) / f"{job}.txt").open("w+"))
            process = subprocess.Popen(
                [*command, _TESTS[job % len(_TESTS)]],
                cwd=ROOT,
                env=environment,
                stdout=output,
                text=True,
            )
            stack.callback(process.terminate)
            stops.append((process, output))
        wrong = 0
        for process, output in stops:
            if process.wait():
                wrong += 1
                output.seek(0)
                console.print(output.read()[-8000:], markup=False, highlight=False)
        return {"runs": made.stat().st_size, "wrong_successes": wrong}


def is_clean(figures: dict[str, Any]) -> bool:
    """Whether nothing went wrong in any run."""
    rows = [*figures["faults"].values(), figures["generated"] or {}]
    return not any(value for row in rows for name, value in row.items() if name != "runs")


def _table(figures: dict[str, Any]) -> Table:
    table = Table("fault", *(name.replace("_", " ") for name in _COLUMNS))
    for name, row in figures["faults"].items():
        table.add_row(name, *(str(row[column]) for column in _COLUMNS))
    if (row := figures["generated"]) is not None:
        table.add_row("generated servers", str(row["runs"]), str(row["wrong_successes"]))
    return table


def markdown(figures: dict[str, Any]) -> str:
    """The figures as a table of Markdown."""
    lines = ["| fault | " + " | ".join(name.replace("_", " ") for name in _COLUMNS) + " |"]
    lines.append("|---|" + "--:|" * len(_COLUMNS))
    for name, row in figures["faults"].items():
        lines.append(f"| {name} | " + " | ".join(str(row[column]) for column in _COLUMNS) + " |")
    if (row := figures["generated"]) is not None:
        cells = [str(row["runs"]), str(row["wrong_successes"]), *[""] * (len(_COLUMNS) - 2)]
        lines.append("| servers that misbehave in generated ways | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(figures: dict[str, Any]) -> None:
    """Put the figures into docs/reliability.md."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{markdown(figures)}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
