"""The columns of the benchmark: rclone, rclone with expert flags, rclone's API, and the service.

Each column runs copies (pairs of endpoints) concurrently and returns their time, CPU and memory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import requests

from benchmark.cpus import SHARED, on
from benchmark.meters import measured
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
"""Flags of a user who knows rclone and both servers, and has enough memory."""
SERVER_EXPERT: Final = (
    "--transfers=16",
    "--checkers=16",
    "--webdav-pacer-min-sleep=1ms",
    "--webdav-nextcloud-chunk-size=100Mi",
    "--multi-thread-streams=8",
    "--s3-upload-concurrency=8",
    "--s3-chunk-size=16Mi",
)
"""Flags of such a user for a real WebDAV server, which collides with itself if given more.

Chunks of 100 MiB are the largest that Nextcloud recommends.
"""
_BUSY_STATUS: Final = 503
_ATTEMPT: Final = re.compile(r"Attempt (\d+)/\d+ ")


@dataclass(frozen=True)
class Run:
    """The cost of some copies: seconds, CPU seconds, and peak memory in bytes (0: not measured).

    `attempts` is the number of attempts that the last copy to succeed took.
    """

    seconds: float
    cpu: float
    peak: int
    tuning: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1
    warnings: tuple[str, ...] = ()
    transferred: int | None = None
    """Number of files that arrived, if the program tells it."""


Column = Callable[[Sequence[Copy], bool], Run]
"""Runs copies concurrently; the flag says whether to measure memory."""


def command(
    binary: Path, flags: Sequence[str] = (), processors: frozenset[int] = SHARED.copiers
) -> Column:
    """`rclone copy`, one process for each copy."""

    def run(copies: Sequence[Copy], measure_memory: bool) -> Run:
        started = [
            (environment(source, destination), source, destination)
            for source, destination in copies
        ]
        processes: list[subprocess.Popen[bytes]] = []
        watched: list[psutil.Process] = []
        with (
            tempfile.TemporaryFile() as stderr,
            measured(lambda: list(watched), memory=measure_memory) as usage,
        ):
            began = time.perf_counter()
            for variables, source, destination in started:
                paths = [f"source:{source['path']}", f"destination:{destination['path']}"]
                with on(processors):
                    processes.append(
                        subprocess.Popen(
                            [str(binary), "copy", *paths, *flags],
                            env=variables,
                            stderr=stderr,
                            process_group=0,
                        )
                    )
                watched.append(psutil.Process(processes[-1].pid))
            try:
                # The kernel returns the resource usage of each process.
                used = [os.wait4(process.pid, 0) for process in processes]
            except BaseException:  # the benchmark is interrupted
                for process in processes:
                    process.kill()
                raise
            seconds = time.perf_counter() - began
            watched.clear()
            for process, (_, status, _) in zip(processes, used, strict=True):
                process.returncode = os.waitstatus_to_exitcode(status)
            stderr.seek(0)
            said = stderr.read().decode("utf-8", "replace")
            if any(process.returncode for process in processes):
                raise CopyFailed(f"rclone failed: {said[:2000]}")
        cpu = sum(one.ru_utime + one.ru_stime for _, _, one in used)
        attempts = max((int(number) for number in _ATTEMPT.findall(said)), default=1)
        return Run(seconds, cpu, usage.peak, attempts=attempts)

    return run


def environment(source: Mapping[str, Any], destination: Mapping[str, Any]) -> dict[str, str]:
    """The environment that defines the remotes of a command; an empty endpoint is none."""
    variables = {"HOME": "/nonexistent", "RCLONE_CONFIG": ""}
    if authorities := os.environ.get("SSL_CERT_FILE"):
        variables["SSL_CERT_FILE"] = authorities
    for side, endpoint in (("SOURCE", source), ("DESTINATION", destination)):
        if not endpoint:
            continue
        variables[f"RCLONE_CONFIG_{side}_TYPE"] = endpoint["type"]
        for name, value in endpoint["parameters"].items():
            variables[f"RCLONE_CONFIG_{side}_{name.upper()}"] = str(value)
    return variables


def daemon(binary: Path, processors: frozenset[int] = SHARED.copiers) -> Column:
    """A bare `rclone rcd` with its defaults, started for the copies and driven over HTTP."""

    def run(copies: Sequence[Copy], measure_memory: bool) -> Run:
        began = time.perf_counter()
        with ExitStack() as running:
            with on(processors):
                process, url = running.enter_context(_daemon(binary))
            with measured(lambda: [psutil.Process(process.pid)], memory=measure_memory) as usage:

                def post(call: str, **parameters: Any) -> None:
                    with requests.Session() as session:
                        session.trust_env = False
                        response = session.post(f"{url}/{call}", json=parameters, timeout=7200)
                    if response.status_code != 200:
                        raise SystemExit(f"scripts/bench: rcd failed: {response.text[:500]}")

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
            return Run(time.perf_counter() - began, times.user + times.system, usage.peak)

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


def service(
    function: service_process.Function, rest: float = 0.0, **members: dict[str, Any]
) -> Column:
    """The service, which is running already, as in production.

    Before each run it has `rest` seconds, for example to boot a standby. `members` are further
    members of each request.
    """

    def run(copies: Sequence[Copy], measure_memory: bool) -> Run:
        time.sleep(rest)

        def copy(pair: Copy) -> dict[str, Any]:
            while True:
                source, destination = pair
                response = function.post(
                    {"source": source, "destination": destination, **members}, timeout=7200
                )
                if response.status_code != _BUSY_STATUS:
                    break
                time.sleep(float(response.headers.get("Retry-After", 1)))
            if response.status_code != 200:
                raise CopyFailed(response.text[:500])
            result: dict[str, Any] = response.json()
            return result

        root = psutil.Process(function.process.pid)
        with measured(lambda: [root], memory=measure_memory) as usage:
            began = time.perf_counter()
            if len(copies) == 1:  # in this thread, which Ctrl-C interrupts
                results = [copy(copies[0])]
            else:
                with ThreadPoolExecutor(len(copies)) as pool:
                    results = list(pool.map(copy, copies))
            seconds = time.perf_counter() - began
        return Run(
            seconds,
            usage.cpu,
            usage.peak,
            results[0]["rclone"].get("tuning") or {},
            max(result["attempts"] for result in results),
            tuple(warning["code"] for result in results for warning in result.get("warnings", ())),
            sum(result["totals"]["files"]["transferred"] for result in results),
        )

    return run


class CopyFailed(Exception):
    """A copy failed; the text is the service's response, or rclone's log."""


@contextmanager
def function(
    folder: Path,
    memory: int | None,
    concurrent_transfers: int,
    *,
    standby: bool = False,
    gateway: bool | None = None,
    networks: Sequence[str] = (),
    variables: Sequence[str] = (),
    processors: frozenset[int] = SHARED.copiers,
) -> Iterator[service_process.Function]:
    """The service as scripts/run serves it, with a memory limit if one is given.

    The limit is passed to the service as AWS Lambda passes it, and RLIMIT_DATA enforces it for
    each process; the benchmark measures their sum. With a limit the service itself derives the
    number of concurrent transfers. `gateway` switches the WebDAV gateway on or off; `networks`
    are allowed besides this machine; `variables` are more of its environment.
    """
    command: tuple[str, ...] = (str(Path(sys.executable).parent / "functions-framework"),)
    variables = [*variables, f"EFSS_TRANSFER_STANDBY={int(standby)}"]
    if gateway is not None:
        variables.append(f"EFSS_TRANSFER_WEBDAV_GATEWAY={int(gateway)}")
    if memory is None:
        variables.append(f"EFSS_TRANSFER_CONCURRENT_TRANSFERS={concurrent_transfers}")
    else:
        variables.append(f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory >> 20}")
        command = ("prlimit", f"--data={memory}", *command)
    site = {"allow": {"networks": ["127.0.0.0/8", *networks]}}
    with ExitStack() as serving:
        with on(processors):
            running = service_process.function(
                folder, command=("env", *variables, *command), site=site
            )
            function = serving.enter_context(running)
        yield function
