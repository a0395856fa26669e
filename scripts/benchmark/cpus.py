"""Whose processors are whose in the bench."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True)
class Processors:
    """On which processors the storages run, with the network to them, and on which who copies.

    Shared they are all for both; apart each has half of them, as at a site, where a storage is
    another machine, which is not the slower for it that who copies takes more of his own.
    """

    storages: frozenset[int]
    copiers: frozenset[int]

    @classmethod
    def apart(cls) -> Self:
        """Half for each. Raises SystemExit if there is but one."""
        every = sorted(os.sched_getaffinity(0))
        if len(every) < 2:
            raise SystemExit("scripts/bench: --apart needs two processors")
        half = len(every) // 2
        return cls(frozenset(every[:half]), frozenset(every[half:]))


SHARED: Final = Processors(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))


@contextmanager
def on(processors: frozenset[int]) -> Iterator[None]:
    """What is started within the block, by this thread, runs on these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
