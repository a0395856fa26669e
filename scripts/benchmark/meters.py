"""What a copy takes besides time: processor time and memory, of all processes that do it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_EACH_SECONDS: Final = 0.05
_FIRST_SECONDS: Final = 0.02  # a copy with a standby is over in 40 ms
_SOON_SECONDS: Final = 0.5
_SHARE: Final = 0.01
"""Of one processor that looking may take: it takes it from those who are looked at."""


@dataclass
class Taken:
    """What was taken. `cpu` is in seconds, `peak` in bytes; they are known after the block."""

    cpu: float = 0.0
    peak: int = 0


@contextmanager
def metered(roots: Callable[[], list[psutil.Process]], *, looking: bool = True) -> Iterator[Taken]:
    """Watch these processes and all that they start, for the length of the block.

    Memory is what they hold together (PSS: what several share counts once), looked at up to
    twenty times a second, or not at all unless `looking`: a look takes milliseconds of a
    processor, more of them where there are more processes. Processor time counts what has
    ended and was waited for, too.
    """
    taken = Taken()
    done = threading.Event()
    before = sum(_seconds(root) for root in roots())

    def watch() -> None:
        began, rest = time.perf_counter(), _FIRST_SECONDS
        while not done.wait(rest):
            look = time.perf_counter()
            family = _family(roots())
            taken.peak = max(taken.peak, sum(_bytes(process.pid) for process in family))
            rest, now = _EACH_SECONDS, time.perf_counter()
            if now - began > _SOON_SECONDS:
                # What is over soon is looked at often all the same.
                rest = max(rest, (now - look) / _SHARE)

    watching = threading.Thread(target=watch, daemon=True)
    if looking:
        watching.start()
    try:
        yield taken
    finally:
        done.set()
        if looking:
            watching.join()
        taken.cpu = sum(_seconds(root) for root in roots()) - before


def _family(roots: list[psutil.Process]) -> list[psutil.Process]:
    found = list(roots)
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found += root.children(recursive=True)
    return found


def _seconds(root: psutil.Process) -> float:
    """Of a process that runs, its children that run, and those that it has waited for."""
    total = 0.0
    for process in _family([root]):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass  # it has ended
    return 0
