"""FaaS runtimes on this machine, each with the function in it.

A runtime is asked over HTTP (`Function`), or its worker is asked line by line (`Worker`); what
stands between a caller and the worker, the test plays as the runtime's documentation has it.
"""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from support.held_port import held_port
from support.http_servers import misbehaving
from support.service_process import LOOPBACK, Function
from support.storages import ROOT


@dataclass
class Said:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Worker:
    """A runtime's worker process."""

    process: subprocess.Popen[str]
    answers: Any
    runtime_dir: Path
    log: Path

    def say(self, line: Any) -> Any:
        """What it answers to a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return json.loads(self.answers.readline())

    def http(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Said:
        """A request, for a worker whose lines are of HTTP."""
        line = {"method": method, "path": path, "headers": headers}
        said = self.say({**line, "body": base64.b64encode(body).decode()})
        return Said(said["status"], said["headers"], base64.b64decode(said["body"]))


def environment(runtime_dir: Path, site: Any, **settings: str) -> dict[str, str]:
    """What a runtime gives its function, and no more: there is no HOME."""
    settings.setdefault("RETRY_SECONDS", "0.2")
    if site is not None:
        settings["SITE"] = str(runtime_dir.parent / f"{runtime_dir.name}.site.json")
        Path(settings["SITE"]).write_text(json.dumps(site))
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "functions"),
        "EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir),
        **{f"EFSS_TRANSFER_{name}": value for name, value in settings.items()},
    }


@contextmanager
def worker(
    kind: str,
    runtime_dir: Path,
    site: Any = LOOPBACK,
    variables: dict[str, str] | None = None,
    **settings: str,
) -> Iterator[Worker]:
    """A worker of azure, nuclio or openwhisk; `variables` are the runtime's own."""
    log = runtime_dir.parent / f"{runtime_dir.name}.log"
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, encoding="utf-8") as answers,
        log.open("wb") as log_file,
        subprocess.Popen(
            [sys.executable, Path(__file__).with_name("runtime_worker.py"), kind, str(writing)],
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=log_file,
            pass_fds=[writing],
            env=environment(runtime_dir, site, **settings) | (variables or {}),
            cwd="/",
            text=True,
        ) as process,
    ):
        os.close(writing)
        try:
            assert answers.readline() == '{"ok": true}\n', log.read_text()
            yield Worker(process, answers, runtime_dir, log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(20)
            finally:
                process.kill()


FUNC_PYTHON = ("-c", "from func_python.http import serve; from knative_func import new; serve(new)")
"""Knative func's server, as the program does that `func build` writes."""
UVICORN = ("-m", "uvicorn", "--factory", "--port=0", "knative_func:new")
"""Another server of ASGI."""


@contextmanager
def asgi(
    runtime_dir: Path,
    site: Any = LOOPBACK,
    server: tuple[str, ...] = FUNC_PYTHON,
    **settings: str,
) -> Iterator[Function]:
    """The function behind a server of ASGI."""
    log = runtime_dir.parent / f"{runtime_dir.name}.log"
    with (
        log.open("wb") as log_file,
        subprocess.Popen(
            [sys.executable, *server],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            env=environment(runtime_dir, site, **settings) | {"LISTEN_ADDRESS": "127.0.0.1:0"},
            cwd="/",
        ) as process,
    ):
        try:
            port = _port(process)
            function = Function(f"http://127.0.0.1:{port}", process, runtime_dir, log)
            function.get("/").raise_for_status()
            yield function
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                process.kill()


def _port(process: subprocess.Popen[bytes]) -> int:
    """Where a process listens that was told to choose."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "it has ended"
        for one in psutil.Process(process.pid).net_connections("tcp4"):
            if one.status == psutil.CONN_LISTEN:
                return int(one.laddr.port)
        time.sleep(0.05)
    raise AssertionError("it does not listen")


@contextmanager
def of_watchdog(
    runtime_dir: Path, variables: dict[str, str], site: Any = LOOPBACK, **settings: str
) -> Iterator[Function]:
    """OpenFaaS's of-watchdog in its mode `http`, as its README has it, which is a Go program
    that no package carries: it starts `fprocess` with its own environment, passes each request
    on to `upstream_url`, and gives one up after `exec_timeout` with 504.
    """
    assert variables["mode"] == "http"
    with held_port() as port:
        yield from _of_watchdog(runtime_dir, variables, site, port, settings)


def _of_watchdog(
    runtime_dir: Path, variables: dict[str, str], site: Any, port: int, settings: dict[str, str]
) -> Iterator[Function]:
    seconds = float(variables["exec_timeout"].removesuffix("s"))
    upstream = f"127.0.0.1:{port}"
    # Its own port is free in a container, and perhaps not here.
    given = variables["upstream_url"].removeprefix("http://")
    command = shlex.split(variables["fprocess"].replace(given.rpartition(":")[2], str(port)))
    command[0] = str(Path(sys.executable).parent / Path(command[0]).name)
    command = [part.replace("/app/", f"{ROOT}/functions/") for part in command]
    log = runtime_dir.parent / f"{runtime_dir.name}.log"

    def pass_on(handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(upstream, timeout=seconds)
        end = threading.Timer(seconds, connection.close)
        end.start()
        try:
            connection.request(handler.command, handler.path, body, dict(handler.headers))
            answer = connection.getresponse()
            content, status, headers = answer.read(), answer.status, answer.getheaders()
        except (OSError, http.client.HTTPException):
            content, status, headers = b"", 504, []
        finally:
            end.cancel()
            connection.close()
        handler.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with (
        log.open("wb") as log_file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            env=environment(runtime_dir, site, **settings) | variables,
            cwd="/",
        ) as process,
    ):
        try:
            _wait_for(f"http://{upstream}/healthz", process)
            with misbehaving(pass_on) as url:
                yield Function(url, process, runtime_dir, log)
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        assert process.poll() is None, "it has ended"
        try:
            requests.get(url, timeout=10).raise_for_status()
        except requests.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return
