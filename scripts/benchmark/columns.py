"""Who copies in the bench: rclone as it is, as an expert calls it, by its API, and we.

Each takes copies (pairs of endpoints), makes all of them at once, and says what they took.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import requests

from benchmark.cpus import SHARED, on
from benchmark.meters import metered
from support import service_process

Copy = tuple[dict[str, Any], dict[str, Any]]

EXPERT: Final = (
    "--transfers=64",
    "--checkers=64",
    "--webdav-pacer-min-sleep=1ms",
    "--fast-list",
    "--multi-thread-streams=8",
    "--s3-upload-concurrency=8",
    "--s3-chunk-size=16Mi",
)
"""What somebody gives it who knows rclone and both servers, and has memory enough."""
_BUSY: Final = 503


@dataclass(frozen=True)
class Run:
    """What copies took: seconds, and processor seconds and bytes of memory at the peak, which
    is 0 if nobody looked.
    """

    seconds: float
    cpu: float
    peak: int
    tuning: dict[str, Any] = field(default_factory=dict)


Column = Callable[[Sequence[Copy], bool], Run]
"""Makes copies, all at once; the flag is whether to look at memory meanwhile."""


def command(
    binary: Path, flags: Sequence[str] = (), processors: frozenset[int] = SHARED.copiers
) -> Column:
    """`rclone copy`, a process for each copy."""

    def run(copies: Sequence[Copy], looking: bool) -> Run:
        started = [
            (_command(source, destination), source, destination) for source, destination in copies
        ]
        processes: list[subprocess.Popen[bytes]] = []
        peaks: list[psutil.Process] = []
        with (
            tempfile.TemporaryFile() as said,
            metered(lambda: list(peaks), looking=looking) as taken,
        ):
            began = time.perf_counter()
            for environment, source, destination in started:
                words = [f"source:{source['path']}", f"destination:{destination['path']}"]
                with on(processors):
                    processes.append(
                        subprocess.Popen(
                            [str(binary), "copy", *words, *flags],
                            env=environment,
                            stderr=said,
                            process_group=0,
                        )
                    )
                peaks.append(psutil.Process(processes[-1].pid))
            try:
                # What each has taken is told by the kernel when it is waited for.
                used = [os.wait4(process.pid, 0) for process in processes]
            except BaseException:  # the bench is told to end
                for process in processes:
                    process.kill()
                raise
            seconds = time.perf_counter() - began
            peaks.clear()
            for process, (_, status, _) in zip(processes, used, strict=True):
                process.returncode = os.waitstatus_to_exitcode(status)
            if any(process.returncode for process in processes):
                said.seek(0)
                raise SystemExit(f"scripts/bench: rclone failed: {said.read(2000)!r}")
        cpu = sum(usage.ru_utime + usage.ru_stime for _, _, usage in used)
        return Run(seconds, cpu, taken.peak)

    return run


def _command(source: dict[str, Any], destination: dict[str, Any]) -> dict[str, str]:
    """The environment that tells the command of its remotes."""
    environment = {"HOME": "/nonexistent", "RCLONE_CONFIG": ""}
    for side, endpoint in (("SOURCE", source), ("DESTINATION", destination)):
        environment[f"RCLONE_CONFIG_{side}_TYPE"] = endpoint["type"]
        for name, value in endpoint["parameters"].items():
            environment[f"RCLONE_CONFIG_{side}_{name.upper()}"] = str(value)
    return environment


def daemon(binary: Path, processors: frozenset[int] = SHARED.copiers) -> Column:
    """A bare `rclone rcd` at its defaults, booted for it and driven by plain HTTP calls."""

    def run(copies: Sequence[Copy], looking: bool) -> Run:
        began = time.perf_counter()
        with ExitStack() as running:
            with on(processors):
                process, url = running.enter_context(_daemon(binary))
            with metered(lambda: [psutil.Process(process.pid)], looking=looking) as taken:

                def post(call: str, **parameters: Any) -> None:
                    with requests.Session() as session:
                        session.trust_env = False
                        answer = session.post(f"{url}/{call}", json=parameters, timeout=7200)
                    if answer.status_code != 200:
                        raise SystemExit(f"scripts/bench: rcd failed: {answer.text[:500]}")

                def copy(pair: Copy) -> None:
                    names = []
                    for number, endpoint in enumerate(pair):
                        names.append(f"remote{number}-{id(pair)}")
                        post(
                            "config/create",
                            name=names[-1],
                            type=endpoint["type"],
                            parameters=endpoint["parameters"],
                            opt={"nonInteractive": True, "obscure": True},
                        )
                    source, destination = (
                        f"{name}:{endpoint['path']}"
                        for name, endpoint in zip(names, pair, strict=True)
                    )
                    post("sync/copy", srcFs=source, dstFs=destination)

                with ThreadPoolExecutor(len(copies)) as pool:
                    list(pool.map(copy, copies))
            times = psutil.Process(process.pid).cpu_times()
            process.terminate()
            process.wait()
            return Run(time.perf_counter() - began, times.user + times.system, taken.peak)

    return run


@contextmanager
def _daemon(binary: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [str(binary), "rcd", "--rc-no-auth", "--rc-addr=127.0.0.1:0", "--config="],
        env={"HOME": "/nonexistent"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield process, found[0]
                    return
            raise SystemExit("scripts/bench: rclone rcd did not start")
        finally:
            process.kill()


def service(function: service_process.Function, rest: float = 0.0) -> Column:
    """The service, which runs already, as it does at a site; after so many seconds of rest, in
    which it may prepare.
    """

    def run(copies: Sequence[Copy], looking: bool) -> Run:
        time.sleep(rest)

        def copy(pair: Copy) -> dict[str, Any]:
            while True:
                source, destination = pair
                answer = function.post({"source": source, "destination": destination}, timeout=7200)
                if answer.status_code != _BUSY:
                    break
                time.sleep(float(answer.headers.get("Retry-After", 1)))
            if answer.status_code != 200:
                raise Failed(answer.text[:500])
            told: dict[str, Any] = answer.json()
            return told

        root = psutil.Process(function.process.pid)
        with (
            metered(lambda: [root], looking=looking) as taken,
            ThreadPoolExecutor(len(copies)) as pool,
        ):
            began = time.perf_counter()
            answers = list(pool.map(copy, copies))
            seconds = time.perf_counter() - began
        return Run(seconds, taken.cpu, taken.peak, answers[0]["rclone"].get("tuning") or {})

    return run


class Failed(Exception):
    """The service did not copy."""


@contextmanager
def function(
    folder: Path,
    memory: int | None,
    places: int,
    *,
    standby: bool = False,
    processors: frozenset[int] = SHARED.copiers,
) -> Iterator[service_process.Function]:
    """The service as scripts/run serves it, within a bound of memory if there is one.

    The bound is told to it as a platform tells it, and each of its processes is held to it
    (RLIMIT_DATA); what they take together is watched. So many transfers may run at a time,
    unless the bound says that there is no room for them.
    """
    words: tuple[str, ...] = (str(Path(sys.executable).parent / "functions-framework"),)
    told = f"EFSS_TRANSFER_CONCURRENT_TRANSFERS={places}"
    keeping = f"EFSS_TRANSFER_STANDBY={int(standby)}"
    if memory is not None:
        told = f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory >> 20}"
        words = ("prlimit", f"--data={memory}", *words)
    with ExitStack() as serving:
        with on(processors):
            running = service_process.function(folder, command=("env", told, keeping, *words))
            function = serving.enter_context(running)
        yield function
