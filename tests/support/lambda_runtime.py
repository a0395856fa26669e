"""AWS Lambda on this machine: the runtime client that AWS has, and what stands behind it.

`awslambdaric` asks the Runtime API for an event, calls the handler, and posts what it
returned; here a test has the events, and is given the answers.
"""

from __future__ import annotations

import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.http_servers import misbehaving
from support.service_process import LOOPBACK
from support.storages import ROOT

NEXT = "/2018-06-01/runtime/invocation/next"
# In mounts of its own, where one folder alone can be written to: not /tmp itself, because
# what is tested may lie below it.
READ_ONLY = (
    "unshare",
    *(() if os.geteuid() == 0 else ("--map-root-user",)),
    "--mount",
    "/bin/sh",
    "-c",
    'mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"',
    "sh",
)


# The same, with a layer at /opt, and then as nobody, if it was root until here.
AS_LAMBDA = (
    *READ_ONLY[:-2],
    """
    mount --bind "$1" "$1" && mount --bind "$2" /opt && mount -o remount,bind,ro /opt &&
        mount --bind "$3" "$4" && mount -o remount,bind,ro "$4" &&
        mount -o remount,bind,ro / && shift 4 && exec "$@"
    """,
    "sh",
)
AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
)


@dataclass(frozen=True)
class Package:
    """What was built for AWS, unpacked: a layer and the function's code; a folder with the
    runtime client, as Lambda has it, and an empty one for Python, which may be where others
    cannot read. Nothing else is to be imported.
    """

    layer: Path
    task: Path
    runtime: Path
    lang: Path

    def start(self, runtime_dir: Path) -> tuple[list[str], dict[str, str]]:
        """The command and the environment in which the handler is started, at /opt if mounts
        are allowed here, and else where it is.
        """
        prefix, name = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
        options = ["-S", "-s", "-m", "awslambdaric"]
        here = mounts_allowed(runtime_dir)
        at = Path("/opt") if here else self.layer
        environment = {
            "PATH": f"/usr/local/bin:/usr/bin:/bin:{at / 'bin'}",
            "PYTHONPATH": f"{self.task}:{at / 'python'}:{self.runtime}",
            "LAMBDA_TASK_ROOT": str(self.task),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "TZ": ":UTC",
        }
        if not here:
            python = str(prefix / "bin" / name)
            return [python, *options], {
                **environment,
                "EFSS_TRANSFER_RCLONE": str(at / "bin" / "rclone"),
            }
        nobody = AS_NOBODY if os.geteuid() == 0 else ()
        python = str(self.lang / "bin" / name)
        # As on Lambda (/var/lang/lib): the library of this very Python, not another's.
        environment["LD_LIBRARY_PATH"] = str(self.lang / "lib")
        mounts = [str(it) for it in (runtime_dir, self.layer, prefix, self.lang)]
        return [*AS_LAMBDA, *mounts, *nobody, python, *options], environment


def mounts_allowed(runtime_dir: Path) -> bool:
    """Whether a process may have mounts of its own here."""
    done = subprocess.run([*READ_ONLY, str(runtime_dir), "true"], capture_output=True, check=False)
    return done.returncode == 0


@dataclass
class Lambda:
    """A function that waits for events."""

    runtime_dir: Path
    log: Path
    events: queue.Queue[tuple[bytes, float]] = field(default_factory=queue.Queue)
    answers: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    waiting: threading.Event = field(default_factory=threading.Event)
    """Set once the handler is imported, and asks for its first event."""
    pid: int = 0

    def send(self, event: Any, seconds: float = 60) -> bytes:
        """What the handler returns for an event, as Lambda gets it back; it has that long."""
        self.events.put((json.dumps(event).encode(), time.time() + seconds))
        path, body = self.answers.get(timeout=seconds + 30)
        assert path.endswith("/response"), body
        return body

    def invoke(self, event: Any, seconds: float = 60) -> Any:
        """The same, decoded."""
        return json.loads(self.send(event, seconds))


@contextmanager
def deployed(
    runtime_dir: Path,
    site: Any = LOOPBACK,
    *,
    read_only: bool = False,
    package: Package | None = None,
    **settings: str,
) -> Iterator[Lambda]:
    """The handler, run as Lambda does: no HOME, and a working folder that is not ours.

    With `read_only` nothing but the runtime folder can be written to. With a `package` it is
    that which runs, as an unprivileged user where nothing else can be written to.
    """
    it = Lambda(runtime_dir, runtime_dir.parent / f"{runtime_dir.name}.log")
    over = False

    def api(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path != NEXT:
            body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            it.answers.put((handler.path, body))
            handler.send_response(202)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        it.waiting.set()
        while not over:
            try:
                event, deadline = it.events.get(timeout=0.1)
            except queue.Empty:
                continue
            handler.send_response(200)
            handler.send_header("Lambda-Runtime-Aws-Request-Id", "one")
            handler.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
            handler.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:x:1:f")
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(event)))
            handler.end_headers()
            handler.wfile.write(event)
            return

    if site is not None:
        settings["SITE"] = str(runtime_dir.parent / f"{runtime_dir.name}.site.json")
        Path(settings["SITE"]).write_text(json.dumps(site))
    settings.setdefault("RETRY_SECONDS", "0.2")
    with misbehaving(api) as url, it.log.open("wb") as log:
        command = [
            *((*READ_ONLY, str(runtime_dir)) if read_only else ()),
            *(sys.executable, "-m", "awslambdaric"),
        ]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "functions")}
        if package is not None:
            command, environment = package.start(runtime_dir)
        environment |= {
            "AWS_LAMBDA_RUNTIME_API": url.removeprefix("http://"),
            "EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir),
            **{f"EFSS_TRANSFER_{name}": value for name, value in settings.items()},
        }
        with subprocess.Popen(
            [*command, "lambda_handler.handler"],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process:
            it.pid = process.pid
            try:
                yield it
            finally:
                over = True
                process.kill()
