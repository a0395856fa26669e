"""A user of the command `efss-transfer`, with a home folder and an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support import service_process
from support.storages import CLOSED_PORT
from support.terminal import LISTENING, Terminal, terminal

PROGRAM: Final = Path(sys.executable).parent / "efss-transfer"


@dataclass
class User:
    """A user who calls a service."""

    home: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, home: Path, **environment: str) -> User:
        """Return a user with these variables, and with no other of this process but PATH."""
        home.mkdir()
        fixed = {"HOME": str(home), "NO_PROXY": "127.0.0.1", "LANG": "C.UTF-8"}
        return cls(home, {"PATH": os.environ["PATH"], **fixed, **environment})

    def run(self, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the command with pipes, and assert that no traceback shows."""
        environment = {**self.environment, **more.pop("environment", {})}
        done = subprocess.run(
            [PROGRAM, *words],
            env=environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    @contextmanager
    def in_terminal(
        self, *words: str | Path, columns: int = 100, **more: str
    ) -> Iterator[Terminal]:
        """Run the command in a terminal, and assert that no traceback shows."""
        with terminal(
            [PROGRAM, *words], {**self.environment, **more}, columns=columns, cwd=self.home
        ) as screen:
            yield screen
        assert "Traceback" not in screen.text

    @contextmanager
    def started(self, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Start the command with pipes; it is killed at the end if it still runs."""
        with subprocess.Popen(
            [*LISTENING, PROGRAM, *words],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def write_endpoints(self, **endpoints: Any) -> None:
        """Write the endpoints file."""
        file = self.home / ".config" / "efss-transfer" / "endpoints.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_toml(endpoints))
        file.chmod(0o600)

    def write(self, name: str, content: Any) -> Path:
        """Write a JSON file into the home folder."""
        file = self.home / name
        file.write_text(json.dumps(content))
        return file

    def copy_in_process(self, folder: Path) -> Path:
        """Let --local reach the test's storages; return the runtime folder, which is new."""
        runtime = folder / "run"
        runtime.mkdir()
        self.environment["EFSS_TRANSFER_RUNTIME_DIR"] = str(runtime)
        site = self.write("local.json", service_process.LOOPBACK)
        self.environment["EFSS_TRANSFER_SITE"] = str(site)
        return runtime


def unused_url() -> str:
    """Return a URL at which no server listens."""
    return f"http://127.0.0.1:{CLOSED_PORT}"


def _toml(endpoints: dict[str, dict[str, Any]]) -> str:
    """Format endpoints as TOML; a JSON string is a TOML string too."""
    lines = []
    for name, it in endpoints.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(it[key])}" for key in ("type", "path") if key in it]
        lines.append(f"[{name}.parameters]")
        for key, value in it.get("parameters", {}).items():
            inner = (
                "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + "}"
                if isinstance(value, dict)
                else json.dumps(value)
            )
            lines.append(f"{key} = {inner}")
    return "\n".join(lines) + "\n"
