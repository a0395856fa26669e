"""Measures a cold start of the function as on AWS Lambda, with the zips of scripts/build-layer.

In the same run it measures `import requests` in a new process, and the boot of rclone's daemon
alone. The aims: the import takes at most twice as long as that of requests, and rclone's first
response comes within that plus the boot, because rclone is verified during the import.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import build_layer
from efss_transfer.config.settings import Settings
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.rc.client import RcClient
from support import service_process
from support import storages as servers

_REQUESTS = """
import time
began, used = time.monotonic(), time.thread_time()
import requests
print(time.monotonic() - began, time.thread_time() - used)
"""

# Records the time of rclone's first response. An import hook patches the module while it is loaded,
# because importing it earlier would change the measured import.
_START = """
import time
python = time.monotonic()
import importlib.util, json, sys
recorded = {}
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name != "efss_transfer.engines.rclone.rc.client":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def changed(module):
            execute(module)
            original = module.RcClient.version
            def version(self):
                version = original(self)
                recorded.setdefault("answer", time.monotonic())
                return version
            module.RcClient.version = version
        spec.loader.exec_module = changed
        return spec
class Context:
    def get_remaining_time_in_millis(self):
        return 60000
sys.meta_path.insert(0, Recorder())
began, used = time.monotonic(), time.thread_time()
import lambda_handler
imported, used = time.monotonic(), time.thread_time() - used
result = lambda_handler.handler(json.loads(sys.argv[2]), Context())
print(json.dumps({
    "state": result.get("state", result.get("code")),
    "python_seconds": python - float(sys.argv[1]),
    "import_seconds": imported - began,
    "import_processor_seconds": used,
    "answer_seconds": recorded["answer"] - began,
    "done_seconds": time.monotonic() - began,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


@dataclass(frozen=True)
class ColdStart:
    """Medians of all runs; seconds count from the start of the import.

    `import_ratio` is relative to twice `import requests`; `import_processor_ratio` is the same
    in CPU time, which varies less on a busy machine. `answer_ratio` is relative to twice `import
    requests` plus the boot of the daemon. `python_seconds` is the start of Python itself, which
    on Lambda is not part of the function.
    """

    runs: int
    requests_seconds: float
    boot_seconds: float
    python_seconds: float
    import_seconds: float
    answer_seconds: float
    done_seconds: float
    import_ratio: float
    import_processor_ratio: float
    answer_ratio: float
    answer_ratio_with_python: float


def measure(runs: int) -> ColdStart:
    """Build, unpack and start it `runs` times. Raises SystemExit if a copy fails."""
    with ExitStack() as running:
        root = Path(running.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        layer, task, run = (root / name for name in ("layer", "task", "run"))
        for name in ("run", "source", "destination"):
            (root / name).mkdir()
        python = Path(sys.base_prefix, "bin", f"python{build_layer.version_of(_python())}")
        target = build_layer.Target(build_layer.own_architecture(), _python(), python.name[6:])
        build_layer.build_layer(target, root / "layer.zip")
        build_layer.build_function(target, root / "function.zip")
        zipfile.ZipFile(root / "layer.zip").extractall(layer)
        zipfile.ZipFile(root / "function.zip").extractall(task)
        binary = layer / "bin" / "rclone"
        binary.chmod(0o755)
        (root / "site.json").write_text(json.dumps(service_process.LOOPBACK))
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{task}:{layer / 'python'}",
            "LD_LIBRARY_PATH": str(Path(sys.base_prefix, "lib")),
            "EFSS_TRANSFER_RCLONE": str(binary),
            "EFSS_TRANSFER_RUNTIME_DIR": str(run),
            "EFSS_TRANSFER_SITE": str(root / "site.json"),
        }
        source = running.enter_context(servers.rclone_webdav(root / "source", binary))
        destination = running.enter_context(servers.rclone_webdav(root / "destination", binary))
        source.fill("tiny", {"file.txt": b"tiny"})
        measured: list[tuple[float, float, dict[str, Any]]] = []
        for number in range(runs + 1):
            body = {
                "source": source.endpoint("tiny"),
                "destination": destination.endpoint(f"tiny-{number}"),
            }
            output = _run([str(python), "-S", "-c", _REQUESTS], environment)
            imported, used = map(float, output.split())
            alone = boot(binary, run)
            command = [str(python), "-S", "-c", _START, str(time.monotonic()), json.dumps(body)]
            started = json.loads(_run(command, environment))
            if started["state"] != "succeeded":
                raise SystemExit(f"scripts/bench: the copy failed: {started['state']}")
            if unwanted := {"flask", "boto3", "botocore"} & set(started["modules"]):
                raise SystemExit(f"scripts/bench: a start imported {', '.join(unwanted)}")
            if number:  # the first run has cold caches
                started["import_processor_ratio"] = started["import_processor_seconds"] / (2 * used)
                measured.append((imported, alone, started))
    return _medians(measured)


def boot(binary: Path, runtime_dir: Path) -> float:
    """Seconds from the start of a daemon to its first response."""
    settings = Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir)})
    began = time.perf_counter()
    # As for a transfer: in its sandbox, with a proxy that is never used.
    ports, proxy = frozenset({1}), "socks5://127.0.0.1:1"
    with ExitStack() as running:
        daemon = running.enter_context(
            running_daemon(binary, settings, lambda _: None, connect_ports=ports, proxy=proxy)
        )
        running.enter_context(RcClient(daemon.socket_path, settings.rclone.boot_seconds)).version()
        return time.perf_counter() - began


def _medians(measured: list[tuple[float, float, dict[str, Any]]]) -> ColdStart:
    def median(values: Any) -> float:
        return float(round(statistics.median(values), 4))

    starts = [start for _, _, start in measured]
    return ColdStart(
        runs=len(measured),
        requests_seconds=median(imported for imported, _, _ in measured),
        boot_seconds=median(alone for _, alone, _ in measured),
        python_seconds=median(start["python_seconds"] for start in starts),
        import_seconds=median(start["import_seconds"] for start in starts),
        answer_seconds=median(start["answer_seconds"] for start in starts),
        done_seconds=median(start["done_seconds"] for start in starts),
        import_ratio=median(it["import_seconds"] / (2 * one) for one, _, it in measured),
        import_processor_ratio=median(it["import_processor_ratio"] for it in starts),
        answer_ratio=median(
            it["answer_seconds"] / (2 * one + alone) for one, alone, it in measured
        ),
        answer_ratio_with_python=median(
            (it["python_seconds"] + it["answer_seconds"]) / (2 * one + alone)
            for one, alone, it in measured
        ),
    )


def _python() -> Path:
    return Path(sys.executable)


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"scripts/bench: {done.stderr[-2000:]}")
    return done.stdout


def describe(cold: ColdStart) -> str:
    """The result as text."""

    def ms(seconds: float) -> str:
        return f"{seconds * 1000:.0f} ms"

    import_text = f"{cold.import_ratio:.2f} of twice requests (aim ≤ 1)"
    answer_text = f"{cold.answer_ratio:.2f} of twice requests and the boot (aim ≤ 1)"
    lines = (
        f"cold start on Lambda, {cold.runs} runs, {os.cpu_count()} CPUs",
        f"  import requests {ms(cold.requests_seconds)}, boot of rclone {ms(cold.boot_seconds)}",
        f"  import lambda_handler {ms(cold.import_seconds)}: {import_text}",
        f"    in CPU time {cold.import_processor_ratio:.2f}",
        f"  to rclone's first response {ms(cold.answer_seconds)}: {answer_text}",
        f"    with Python's start ({ms(cold.python_seconds)}) {cold.answer_ratio_with_python:.2f}",
        f"  to the response of the copy {ms(cold.done_seconds)}",
    )
    return "\n".join(lines)
