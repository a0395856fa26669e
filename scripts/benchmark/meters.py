"""Measures the CPU time and memory of all processes that take part in a copy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_INTERVAL_SECONDS: Final = 0.05
_FIRST_SECONDS: Final = 0.02  # a copy with a standby takes 40 ms
_SHORT_SECONDS: Final = 0.5
_MAX_CPU_SHARE: Final = 0.01
"""The share of one CPU that measuring may use: it competes with the measured processes."""


@dataclass
class Usage:
    """CPU seconds and peak memory in bytes; complete after the block."""

    cpu: float = 0.0
    peak: int = 0


@contextmanager
def measured(roots: Callable[[], list[psutil.Process]], *, memory: bool = True) -> Iterator[Usage]:
    """Measure these processes and their descendants for the length of the block.

    Memory is the sum of their PSS, in which shared pages count once. With `memory` it is sampled
    up to twenty times a second; a sample takes milliseconds of CPU, more with more processes.
    CPU time includes children that have ended.
    """
    usage = Usage()
    done = threading.Event()
    before = sum(_seconds(root) for root in roots())

    def watch() -> None:
        began, pause = time.perf_counter(), _FIRST_SECONDS
        while not done.wait(pause):
            sampled = time.perf_counter()
            family = _family(roots())
            usage.peak = max(usage.peak, sum(_bytes(process.pid) for process in family))
            pause, now = _INTERVAL_SECONDS, time.perf_counter()
            if now - began > _SHORT_SECONDS:
                # Short copies are sampled often anyway.
                pause = max(pause, (now - sampled) / _MAX_CPU_SHARE)

    thread = threading.Thread(target=watch, daemon=True)
    if memory:
        thread.start()
    try:
        yield usage
    finally:
        done.set()
        if memory:
            thread.join()
        usage.cpu = sum(_seconds(root) for root in roots()) - before


def _family(roots: list[psutil.Process]) -> list[psutil.Process]:
    found = list(roots)
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found += root.children(recursive=True)
    return found


def _seconds(root: psutil.Process) -> float:
    """CPU seconds of a process, its running descendants, and its children that have ended."""
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
        pass  # the process has ended
    return 0
