"""Measures what a server on this machine does for a copy: its CPU time, and its requests."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_COMBINED: Final = re.compile(r'"([A-Z]+) \S+ HTTP/[0-9.]+" (\d{3})\b')
_QUIET_SECONDS: Final = 0.5
_QUIET_CPU: Final = 0.05
_MOST_SECONDS: Final = 30.0


class ServerProcesses:
    """Processes by name, such as php-fpm8.2 and postgres."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        if missing := self._names - {process.name() for process in self._all()}:
            raise SystemExit(f"scripts/bench: no process is named {', '.join(sorted(missing))}")

    def seconds(self) -> float:
        """CPU seconds of all of them so far, with their children that have ended."""
        total = 0.0
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def settled(self) -> float:
        """CPU seconds once they are idle: a server may do part of its work afterwards."""
        until = time.monotonic() + _MOST_SECONDS
        seconds = self.seconds()
        while time.monotonic() < until:
            before = seconds
            time.sleep(_QUIET_SECONDS)
            seconds = self.seconds()
            if seconds - before < _QUIET_CPU:
                break
        return seconds

    def _all(self) -> list[psutil.Process]:
        # `name` is cached by process_iter, so processes that have ended raise nothing here.
        return [
            process
            for process in psutil.process_iter(["name"])
            if process.info["name"] in self._names
        ]


class AccessLog:
    """Access log that grows: the combined format, or JSON with `method` and `status`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._position = file.stat().st_size
        except OSError as error:
            raise SystemExit(f"scripts/bench: cannot read {file}: {error.strerror}") from error

    def new_requests(self) -> dict[str, int]:
        """Number of requests by method and status since the last call."""
        with self._file.open("rb") as log:
            log.seek(self._position)
            text = log.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._position += len(complete)
        return parsed(complete.decode("utf-8", "replace").splitlines())


def parsed(lines: Iterable[str]) -> dict[str, int]:
    """Number of requests by method and status, such as "PUT 201"."""
    counts: Counter[str] = Counter()
    for line in lines:
        if line.startswith("{"):
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                counts[f"{entry['method']} {entry['status']}"] += not _is_internal(entry)
        elif found := _COMBINED.search(line):
            counts[f"{found[1]} {found[2]}"] += 1
    return dict(sorted((+counts).items()))


def _is_internal(entry: dict[str, object]) -> bool:
    """Whether OpenCloud sent the request to itself: its WebDAV service hands bodies on."""
    return str(entry.get("path", "")).split("/")[1:2] == ["data"]


def refused(requests: dict[str, int]) -> dict[str, int]:
    """Requests that were locked (423), failed a precondition (412), or were throttled or failed."""
    return {
        name: count
        for name, count in requests.items()
        if (status := name.partition(" ")[2]) in ("412", "423", "429") or status >= "500"
    }
