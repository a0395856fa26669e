"""Memory and CPU limits of this machine, or of the sandbox that the service runs in.

Both versions of control groups are read (cgroups(7)): a container sees its own group at the
root of the hierarchy, and on a plain host each group above the process's limits it as well.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_GROUPS: Final = Path("/proc/self/cgroup")
# AWS Lambda's sandbox shows more memory than the function may use; this variable holds the
# limit in MiB (AWS Lambda's manual, "Using environment variables").
_LAMBDA_MEMORY: Final = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"

# Each transfer needs some twenty descriptors, and each connection through its guard two more. The
# usual soft limit is 1024, for the sake of programs that use select(2).
_MOST_DESCRIPTORS: Final = 65_536


def raise_descriptor_limit() -> None:
    """Let this process open as many files as its hard limit allows, up to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # A sandbox may forbid it; then the limit stays.
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def memory_limit(
    environment: Mapping[str, str], groups: Path = CGROUPS, own: Path = OWN_GROUPS
) -> int | None:
    """The memory, in bytes, that all processes here may use together; None if unknown."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    of_lambda = environment.get(_LAMBDA_MEMORY, "")
    if of_lambda.isdecimal() and int(of_lambda):
        limits.append(int(of_lambda) << 20)
    for folder in _group_folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            # Version 2 writes `max` for no limit, version 1 a number beyond any memory.
            if text.isdecimal():
                limits.append(int(text))
    return min((limit for limit in limits if limit > 0), default=None)


def resident_bytes(pid: int) -> int:
    """The memory of a process, with its program's code; a huge number if that is unknown."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return sys.maxsize


def cpu_limit(groups: Path = CGROUPS, own: Path = OWN_GROUPS) -> float | None:
    """The number of CPUs' time that the control groups allow; None without a limit."""
    limits: list[float] = []
    for folder in _group_folders("cpu", groups, own):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def usable_cpus() -> int | None:
    """The number of CPUs that a program should use under a control group's limit, or None
    without one: at least two, as Go's own rule has it, and no more than the machine has.
    """
    limit = cpu_limit()
    return None if limit is None else min(max(2, math.ceil(limit)), len(os.sched_getaffinity(0)))


@cache
def cpu_count() -> int:
    """The number of CPUs that all processes here can use. Cached: each transfer asks."""
    return usable_cpus() or len(os.sched_getaffinity(0))


def _group_folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's groups, each followed by those above it."""
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
