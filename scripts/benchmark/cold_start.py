"""Time a cold start of the function on AWS Lambda, from what scripts/build-layer builds.

Beside it, by turns: `import requests` in a process of its own, and the boot of rclone's daemon
alone. The start is to import at most twice as long as requests, and to have rclone's first
answer within that and the boot, because the one goes on while the other does.
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
from efss_transfer.engines.rclone.process.daemon import booted
from efss_transfer.engines.rclone.rc.client import Rc
from support import service_process
from support import storages as servers

_REQUESTS = """
import time
began, used = time.monotonic(), time.thread_time()
import requests
print(time.monotonic() - began, time.thread_time() - used)
"""

# The first answer is noted where it is read; for this, the module is changed when it is loaded,
# and not before, because when it is loaded is part of what is timed.
_START = """
import time
python = time.monotonic()
import importlib.util, json, sys
noted = {}
class Noting:
    def find_spec(self, name, path=None, target=None):
        if name != "efss_transfer.engines.rclone.rc.client":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def changed(module):
            execute(module)
            original = module.Rc.version
            def version(self):
                told = original(self)
                noted.setdefault("answer", time.monotonic())
                return told
            module.Rc.version = version
        spec.loader.exec_module = changed
        return spec
class Context:
    def get_remaining_time_in_millis(self):
        return 60000
sys.meta_path.insert(0, Noting())
began, used = time.monotonic(), time.thread_time()
import lambda_handler
imported, used = time.monotonic(), time.thread_time() - used
told = lambda_handler.handler(json.loads(sys.argv[2]), Context())
print(json.dumps({
    "state": told.get("state", told.get("code")),
    "python_seconds": python - float(sys.argv[1]),
    "import_seconds": imported - began,
    "import_processor_seconds": used,
    "answer_seconds": noted["answer"] - began,
    "done_seconds": time.monotonic() - began,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


@dataclass(frozen=True)
class Cold:
    """A cold start, medians: seconds, from the beginning of the import on; and the ratios of
    each run, by median: to twice `import requests`, in the processor's time as well, which tells
    more on a machine that is busy; and to that and the daemon's boot.
    `python_seconds` is what Python itself took before, which on Lambda is not the function's.
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


def measure(runs: int) -> Cold:
    """Build, unpack, and start that many times. Raises SystemExit if a copy failed."""
    with ExitStack() as running:
        root = Path(running.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        layer, task, run = (root / name for name in ("layer", "task", "run"))
        for name in ("run", "source", "destination"):
            (root / name).mkdir()
        python = Path(sys.base_prefix, "bin", f"python{build_layer.version_of(_here())}")
        target = build_layer.Target(build_layer.own_architecture(), _here(), python.name[6:])
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
            told = _run([str(python), "-S", "-c", _REQUESTS], environment)
            imported, used = map(float, told.split())
            alone = boot(binary, run)
            command = [str(python), "-S", "-c", _START, str(time.monotonic()), json.dumps(body)]
            started = json.loads(_run(command, environment))
            if started["state"] != "succeeded":
                raise SystemExit(f"scripts/bench: the function did not copy: {started['state']}")
            if unwanted := {"flask", "boto3", "botocore"} & set(started["modules"]):
                raise SystemExit(f"scripts/bench: a start imported {', '.join(unwanted)}")
            if number:  # the first finds cold caches
                started["import_processor_ratio"] = started["import_processor_seconds"] / (2 * used)
                measured.append((imported, alone, started))
    return _summed(measured)


def boot(binary: Path, runtime_dir: Path) -> float:
    """Seconds from the start of a daemon to its first answer, by itself."""
    settings = Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir)})
    began = time.perf_counter()
    # As for a transfer: in its sandbox, with a way out that is never taken.
    ports, proxy = frozenset({1}), "socks5://127.0.0.1:1"
    with ExitStack() as running:
        daemon = running.enter_context(
            booted(binary, settings, lambda _: None, connect_ports=ports, proxy=proxy)
        )
        running.enter_context(Rc(daemon.socket_path, settings.boot_seconds)).version()
        return time.perf_counter() - began


def _summed(measured: list[tuple[float, float, dict[str, Any]]]) -> Cold:
    def median(values: Any) -> float:
        return float(round(statistics.median(values), 4))

    starts = [start for _, _, start in measured]
    return Cold(
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


def _here() -> Path:
    return Path(sys.executable)


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"scripts/bench: {done.stderr[-2000:]}")
    return done.stdout


def told(cold: Cold) -> str:
    """What a person is told of it."""

    def ms(seconds: float) -> str:
        return f"{seconds * 1000:.0f} ms"

    import_told = f"{cold.import_ratio:.2f} of twice requests (aim ≤ 1)"
    answer_told = f"{cold.answer_ratio:.2f} of twice requests and the boot (aim ≤ 1)"
    lines = (
        f"cold start on Lambda, {cold.runs} runs, {os.cpu_count()} processors",
        f"  import requests {ms(cold.requests_seconds)}, daemon's boot {ms(cold.boot_seconds)}",
        f"  import lambda_handler {ms(cold.import_seconds)}: {import_told}",
        f"    in time of the processor {cold.import_processor_ratio:.2f}",
        f"  to rclone's first answer {ms(cold.answer_seconds)}: {answer_told}",
        f"    with Python's start ({ms(cold.python_seconds)}) {cold.answer_ratio_with_python:.2f}",
        f"  to the answer of the copy {ms(cold.done_seconds)}",
    )
    return "\n".join(lines)
