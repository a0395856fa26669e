"""Assigns CPUs to the storages and to the copying processes of the benchmark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True)
class Processors:
    """The CPUs of the storages and their network, and those of the copying processes.

    By default both share all CPUs. With `apart` each gets half, as if the storages were other
    machines: then a copying process that uses more CPU does not slow them down.
    """

    storages: frozenset[int]
    copiers: frozenset[int]

    @classmethod
    def apart(cls) -> Self:
        """Half of the CPUs for each. Raises SystemExit if there is only one."""
        every = sorted(os.sched_getaffinity(0))
        if len(every) < 2:
            raise SystemExit("scripts/bench: --apart needs at least two CPUs")
        half = len(every) // 2
        return cls(frozenset(every[:half]), frozenset(every[half:]))


SHARED: Final = Processors(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))


@contextmanager
def on(processors: frozenset[int]) -> Iterator[None]:
    """Run what this thread starts within the block on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
