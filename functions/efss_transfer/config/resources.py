"""How much memory and processor time there is here: the machine's, or its sandbox's.

Control groups are asked for in both versions (cgroups(7)): a container's own group is what
it sees at the root of its hierarchy, and on a plain host each group above the process's
bounds it as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_GROUPS: Final = Path("/proc/self/cgroup")
# Of AWS Lambda, whose sandbox shows more than the function may take (its manual, "Using
# environment variables"); the value is in MiB.
_LAMBDA: Final = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"


def memory_limit(
    environment: Mapping[str, str], groups: Path = CGROUPS, own: Path = OWN_GROUPS
) -> int | None:
    """The bytes of memory that all processes here may take together; None if that is not
    to be learnt.
    """
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    told = environment.get(_LAMBDA, "")
    if told.isdecimal() and int(told):
        found.append(int(told) << 20)
    for folder in _folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdecimal():  # not the word `max`; version 1 has a number beyond all sense
                found.append(int(text))
    return min((number for number in found if number > 0), default=None)


def cpu_limit(groups: Path = CGROUPS, own: Path = OWN_GROUPS) -> float | None:
    """How many processors' time the control groups give; None if they do not bound it."""
    found: list[float] = []
    for folder in _folders("cpu", groups, own):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


def usable_cpus() -> int | None:
    """As many as a program should use, if a control group bounds them: at least two, as Go
    has it, and no more than there are.
    """
    given = cpu_limit()
    return None if given is None else min(max(2, math.ceil(given)), len(os.sched_getaffinity(0)))


@cache
def cpu_count() -> int:
    """How many processors all that runs here can use. Looked up once: each transfer asks."""
    return usable_cpus() or len(os.sched_getaffinity(0))


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, with those above them."""
    for line in _read(own).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = groups / controllers if controllers else groups
        if controllers and not top.is_dir():
            top = groups / controller
        folder = top / path.strip("/")
        while True:
            yield folder
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""
