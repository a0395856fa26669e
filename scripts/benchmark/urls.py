"""Compares a list of URLs with `rclone copyurl --urls` by an expert, with as many files at a time.

`scripts/bench --rows urls` runs it. Both alternate, and every copy is verified byte by byte.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmark import columns, storages
from benchmark.rows import KIB, small
from efss_transfer.engines.rclone.process.binary import find_binary

FILES: Final = 1_000
ROUND_TRIP_SECONDS: Final = 0.02
AIM: Final = 1.1
_AT_ONCE: Final = 32


@dataclass(frozen=True)
class ListedUrls:
    """The median times of the service and of `rclone copyurl`, and of their ratios in each round.

    `load` is the machine's load average before and after.
    """

    files: int
    at_once: int
    round_trip_ms: int
    rounds: int
    seconds: float
    rclone_seconds: float
    ratio: float
    load: tuple[float, float]


def measure(rounds: int, files: int = FILES) -> ListedUrls:
    """Copy the same files from a web server to S3 with both, in turn."""
    load = os.getloadavg()[0]
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    binary = find_binary(None)
    sizes = small(files)(1)
    with ExitStack() as running:
        folder, _ = running.enter_context(storages.work_folder(files * 24 * KIB))
        (folder / "run").mkdir()
        storages.fill(folder / "webdav/source/urls", sizes)
        local = running.enter_context(storages.local_servers(binary, folder))
        distant = running.enter_context(storages.distant_servers(local, ROUND_TRIP_SECONDS, 0.0))
        function = running.enter_context(columns.function(folder / "run", None, 8))
        urls = {path: f"{distant.urls['webdav']}/source/urls/{path}" for path in sizes}
        listed = [{"url": url, "path": path, "size": sizes[path]} for path, url in urls.items()]
        source = {"type": "urls", "parameters": {"files": listed}, "path": ""}
        (csv := folder / "urls.csv").write_text(
            "".join(f"{url},{path}\n" for path, url in urls.items()), "utf-8"
        )

        def ours(end: Mapping[str, Any]) -> None:
            answer = function.copy(source, end, options={"transfers": _AT_ONCE})
            if answer.status_code != 200:
                raise SystemExit(f"scripts/bench: the list failed: {answer.text[:500]}")

        def theirs(end: Mapping[str, Any]) -> None:
            _copyurl(binary, csv, end)

        for number in range(rounds):
            both: list[tuple[str, Callable[[Mapping[str, Any]], None]]]
            both = [("ours", ours), ("theirs", theirs)]
            for name, copy in both[:: -1 if number % 2 else 1]:
                end = distant.endpoint("s3", f"copies/{uuid.uuid4().hex}")
                began = time.perf_counter()
                copy(end)
                times[name].append(time.perf_counter() - began)
                if not storages.is_identical(folder / "webdav/source/urls", distant.folder_of(end)):
                    raise SystemExit("scripts/bench: urls: source and destination differ")
    ratios = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
    return ListedUrls(
        files,
        _AT_ONCE,
        round(ROUND_TRIP_SECONDS * 1000),
        rounds,
        round(statistics.median(times["ours"]), 3),
        round(statistics.median(times["theirs"]), 3),
        round(statistics.median(ratios), 3),
        (round(load, 2), round(os.getloadavg()[0], 2)),
    )


def _copyurl(binary: Path, csv: Path, end: Mapping[str, Any]) -> None:
    done = subprocess.run(
        [
            *(str(binary), "copyurl", "--urls", str(csv), f"destination:{end['path']}"),
            *columns.EXPERT,
            f"--transfers={_AT_ONCE}",
        ],
        env=columns.environment({}, end),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"scripts/bench: rclone copyurl failed: {done.stderr[:500]!r}")


def describe(row: ListedUrls) -> str:
    """The result as a line of text."""
    return (
        f"{row.files} URLs, {row.at_once} at a time, round trip {row.round_trip_ms} ms: "
        f"{row.seconds:.2f} s; rclone copyurl {row.rclone_seconds:.2f} s, ratio {row.ratio:.2f} "
        f"(aim {AIM}); load average {row.load[0]} to {row.load[1]}"
    )
