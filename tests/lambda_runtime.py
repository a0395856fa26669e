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

from servers import LOOPBACK, ROOT, misbehaving

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
    runtime_dir: Path, site: Any = LOOPBACK, *, read_only: bool = False, **settings: str
) -> Iterator[Lambda]:
    """The handler, run as Lambda does: no HOME, and a working folder that is not ours.

    With `read_only` nothing but the runtime folder can be written to.
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
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "functions"),
            "AWS_LAMBDA_RUNTIME_API": url.removeprefix("http://"),
            "EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir),
            **{f"EFSS_TRANSFER_{name}": value for name, value in settings.items()},
        }
        with subprocess.Popen(
            [
                *((*READ_ONLY, str(runtime_dir)) if read_only else ()),
                *(sys.executable, "-m", "awslambdaric", "lambda_handler.handler"),
            ],
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
