"""The service under test, as a process of functions-framework with a log and a runtime folder."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import requests

from support.storages import ROOT, digest

LOOPBACK: Final = {"allow": {"networks": ["127.0.0.0/8"]}}
"""A site whose storages may be on this machine."""


@dataclass
class Function:
    """The function, served as an operator would: functions-framework, in its own process."""

    url: str
    process: subprocess.Popen[bytes]
    runtime_dir: Path
    log: Path

    def post(self, body: Any, path: str = "", **options: Any) -> requests.Response:
        """POST a request, or any bytes; no retries, no proxies."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                self.url + path,
                data=data,
                headers=headers,
                timeout=options.pop("timeout", 120),
                **options,
            )

    def events(self, body: Any) -> Generator[dict[str, Any], None, None]:
        """The events of a transfer, one by one; to leave them is to hang up."""
        with requests.post(
            self.url,
            json=body,
            headers={"Accept": "application/x-ndjson"},
            stream=True,
            timeout=30,
        ) as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def leave(self, body: Any, when: Callable[[], object]) -> None:
        """Send a transfer, and hang up as soon as something has happened."""
        with closing(self.events(body)) as events:
            for _ in events:
                if when():
                    return
        raise AssertionError("the transfer ended before")

    def get(self, path: str) -> requests.Response:
        """GET a path."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, timeout=60)

    def copy(self, source: Any, destination: Any, **members: Any) -> requests.Response:
        """POST a transfer."""
        return self.post({"source": source, "destination": destination, **members})

    def family(self) -> list[psutil.Process]:
        """All processes that belong to it: rclone's and the keepers' too."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def daemons(self) -> list[psutil.Process]:
        """The rclone processes that run now; one that ends meanwhile is none."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                if process.name() == "rclone":
                    found.append(process)
        return found

    def worker(self) -> psutil.Process:
        """The process that serves: gunicorn's one child, which runs Python."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                if "functions-framework" in " ".join(process.cmdline()):
                    found.append(process)
        (worker,) = found
        return worker

    def standby(self, number: int = 1) -> int:
        """The process of the `number`-th rclone on standby, once it is ready."""
        until = time.monotonic() + 20
        pattern = r"booted a standby rclone as process (\d+)"
        while len(booted := re.findall(pattern, self.log.read_text())) < number:
            assert time.monotonic() < until, f"there are {booted}"
            time.sleep(0.05)
        return int(booted[number - 1])

    def leftovers(self) -> list[str]:
        """What a transfer has left: daemons, keepers, folders. Empty within a moment."""
        return leftovers(self.runtime_dir)

    def wait_clean(self, seconds: float = 15) -> None:
        """Fail if something is left after that long."""
        wait_clean(self.runtime_dir, seconds)


def wait_clean(runtime_dir: Path, seconds: float) -> None:
    """Fail if something is left in a runtime folder, or runs there, after that long."""
    until = time.monotonic() + seconds
    while left := leftovers(runtime_dir):
        assert time.monotonic() < until, left
        time.sleep(0.02)


def leftovers(runtime_dir: Path) -> list[str]:
    """Processes that name the folder in their arguments or work in it, and its content."""
    found = [f"file {path}" for path in runtime_dir.iterdir()]
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(runtime_dir) in word for word in words) and "functions-framework" not in str(
            words
        ):
            found.append(f"process {process.pid}: {' '.join(words)[:200]}")
    return found


def listening(unix: Path | None = None) -> socket.socket:
    """A socket that listens: at a path, or at a port of loopback that the kernel chose."""
    if unix is None:
        return socket.create_server(("127.0.0.1", 0), backlog=256)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(unix))
    listener.listen(256)
    return listener


GATEWAY: Final = os.environ.get("TESTED_WEBDAV_GATEWAY", "1") == "1"
"""Whether WebDAV storages are reached through the gateway. All tests pass with it and without."""


BULK: Final = os.environ.get("TESTED_WEBDAV_BULK", "1") == "1"
"""Whether the gateway may use bulk uploads. All tests pass with them and without."""


ARCHIVES: Final = os.environ.get("TESTED_WEBDAV_ARCHIVES", "1") == "1"
"""Whether the gateway may read files from archives. All tests pass with them and without."""


CHUNKS: Final = os.environ.get("TESTED_WEBDAV_CHUNKS", "1") == "1"
"""Whether the gateway may send large files in chunks. All tests pass with it and without."""


CHECKOUT: Final = Path(os.environ.get("TESTED_CHECKOUT", ROOT))
"""The checkout, set up, whose service is tested: an old one shows that a test fails there."""

SCRIPTS: Final = Path(sys.executable).parent if CHECKOUT == ROOT else CHECKOUT / ".venv" / "bin"


@contextmanager
def function(
    runtime_dir: Path,
    *,
    main: Path = CHECKOUT / "functions" / "main.py",
    command: tuple[str, ...] = (str(SCRIPTS / "functions-framework"),),
    cwd: Path | None = None,
    site: Any = LOOPBACK,
    unix: Path | None = None,
    **settings: str,
) -> Iterator[Function]:
    """The function on a port that the kernel chose; settings without their prefix.

    `site` is the site file's content; None for no file, which is stricter than the storages
    of these tests can bear: they are all on loopback. With `unix` it listens at that path
    instead, which only a gateway can reach: its own `get` and `post` cannot.

    gunicorn takes over a listening socket as rclone does, so that there is no moment in
    which somebody else could take the port.
    """
    log = runtime_dir.parent / f"{runtime_dir.name}.log"
    # What a developer has set for other programs is not what is tested here: DEBUG would
    # even swap the server, and gunicorn shares a control socket between all of a user's.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EFSS_TRANSFER_", "FUNCTION_"))
        and not name.lower().endswith("_proxy")
        and name not in ("DEBUG", "THREADS", "WORKERS")
    }
    if Path(settings.get("RCLONE", "")).is_file() and "RCLONE_SHA256" not in settings:
        # What a test brings is known to it; the function runs no other program.
        settings["RCLONE_SHA256"] = digest(Path(settings["RCLONE"]).read_bytes())
    # What is tried again is mostly tried in vain here: a server of a test stays as it is.
    settings.setdefault("RETRY_SECONDS", "0.2")
    state = runtime_dir.parent / f"{runtime_dir.name}.state"
    state.mkdir(exist_ok=True)
    if site is not None:
        settings["SITE"] = str(state / "site.json")
        Path(settings["SITE"]).write_text(json.dumps(site))
    settings.setdefault("WEBDAV_GATEWAY", str(int(GATEWAY)))
    if CHECKOUT != ROOT:
        settings.pop("WEBDAV_GATEWAY")  # an old service may not know it
    else:
        settings.setdefault("WEBDAV_BULK", str(int(BULK)))
        settings.setdefault("WEBDAV_ARCHIVES", str(int(ARCHIVES)))
        if not CHUNKS:
            settings.setdefault("WEBDAV_CHUNKS_MB", "0")
    environment = {
        **clean,
        "EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir),
        "THREADS": settings.pop("THREADS", "64"),
        **{f"EFSS_TRANSFER_{name}": value for name, value in settings.items()},
        "LISTEN_FDS": "1",
        "XDG_RUNTIME_DIR": str(state),
    }
    with (
        listening(unix) as listener,
        log.open("wb") as log_file,
        subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                'exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@"',
                "sh",
                *command,
                f"--source={main}",
                "--target=transfer",
            ],
            stdin=listener.fileno(),
            stdout=log_file,
            stderr=log_file,
            env=environment,
            cwd=cwd,
            process_group=0,
        ) as process,
    ):
        url = "" if unix else f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        try:
            # The socket's backlog holds this until the function is up.
            started = Function(url, process, runtime_dir, log)
            if unix is None:
                started.get("/").raise_for_status()
            yield started
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                if process.poll() is None:
                    process.kill()
