"""Processes that make fault runs side by side: most of a run is waiting for a deadline.

`python fault_workers.py` is one of them: it reads a task from each line of its input, and writes
the result as a line of JSON. It has its own servers and its own service.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from fault_runs import Runs, Service, Tally, places


@dataclass(frozen=True)
class FaultTask:
    """One run. `seed` determines its moment."""

    direction: str
    fault: str
    seed: str


Done: TypeAlias = tuple[FaultTask, Tally, list[str]]
_END: Final = None


def run_all(tasks: Sequence[FaultTask], jobs: int) -> Iterator[Done]:
    """Make the runs in so many processes at a time; each is yielded as it ends."""
    left: queue.SimpleQueue[FaultTask] = queue.SimpleQueue()
    for task in tasks:
        left.put(task)
    done: queue.SimpleQueue[Done | Exception | None] = queue.SimpleQueue()
    with ExitStack() as stack:
        workers = []
        for _ in range(min(jobs, len(tasks))):
            worker = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_stop, worker)
            workers.append(worker)
            threading.Thread(target=_feed, args=(worker, left, done), daemon=True).start()
        ended = 0
        while ended < len(workers):
            match done.get():
                case None:
                    ended += 1
                case Exception() as error:
                    raise error
                case result:
                    yield result


def _stop(worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    worker.wait(60)


def _feed(
    worker: subprocess.Popen[str],
    left: queue.SimpleQueue[FaultTask],
    done: queue.SimpleQueue[Done | Exception | None],
) -> None:
    """Give a worker one task after the other, until none is left."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        while True:
            task = left.get_nowait()
            worker.stdin.write(json.dumps(asdict(task)) + "\n")
            worker.stdin.flush()
            answer = json.loads(worker.stdout.readline())
            done.put((task, Tally(**answer["tally"]), answer["lines"]))
    except queue.Empty:
        done.put(_END)
    except Exception:  # noqa: BLE001  # whatever ended the worker ends all
        done.put(RuntimeError("A worker ended; see its words above."))


def main() -> None:
    """Make the runs that the input names."""
    # Exit by an exception, so that SIGTERM stops the service and the servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    lines: list[str] = []
    with places() as ends, ExitStack() as stack:
        service = Service()
        stack.callback(service.end)
        directions: dict[str, Runs] = {}
        while line := sys.stdin.readline():
            task = FaultTask(**json.loads(line))
            if task.direction not in directions:
                source, _, destination = task.direction.partition(" to ")
                directions[task.direction] = Runs(
                    ends[source], ends[destination], service, lines.append
                )
            tally = directions[task.direction].run(task.fault, f"{task}")
            print(json.dumps({"tally": asdict(tally), "lines": lines}), flush=True)
            lines.clear()


if __name__ == "__main__":
    main()
