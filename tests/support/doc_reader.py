"""Somebody who follows the README or a page of docs/: writes files, runs commands in a shell.

What a page says of hosts, secrets and this machine's folders is replaced by what stands for it
here. The commands are run as they stand, but for whole lines that a test does in another way
(`instead`), or before which something has to happen (`before`).
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support import service_process, storages
from support.doc_blocks import Block, blocks

PROGRAMS: Final = Path(sys.executable).parent
# Exported variables and the mask of files stay from one block to the next, as in a terminal.
_AROUND: Final = """set -eo pipefail
[ ! -e {state} ] || . {state}
trap 'code=$?; {{ export -p; umask -p; }} >{state}; exit $code' EXIT
{commands}"""
_NUMBER: Final = re.compile(r"\d[\d.]*")
Hook = Callable[["Reader", re.Match[str]], None]


@dataclass
class Reader:
    """The reader. `said` is what is replaced in a page; `secrets` are typed where asked for."""

    home: Path
    environment: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, Hook] = field(default_factory=dict)
    before: Mapping[str, Hook] = field(default_factory=dict)

    def follow(self, page: Path, able: frozenset[str] = frozenset()) -> None:
        """Do all that a page says; `able` is what its blocks may need."""
        out = ""
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            if "needs" in block.marks and block.marks["needs"] not in able:
                continue
            if "file" in block.marks:
                self.write(block)
            elif "cron" in block.marks:
                self._at_night(block, where)
            elif "output" in block.marks:
                assert pattern(block.content).fullmatch(out), (where, out)
            elif "answer" in block.marks:
                answer = json.loads(out)
                assert contains(answer, json.loads(block.content)), (where, out)
            elif "run" in block.marks:
                program = shlex.quote(self.put(block.content))
                out = self.run(f"python3 -c {program}", where=where)
            elif block.language == "sh":
                out = self._type(block, where)

    def write(self, block: Block) -> None:
        """Write a file that a page shows."""
        file = self.place(block.marks["file"])
        file.parent.mkdir(parents=True, exist_ok=True)
        text = self.put(block.content)
        if block.marks.get("schema") == "site":
            # The servers of these tests are all on loopback.
            site = json.loads(text)
            site.setdefault("allow", {}).setdefault("networks", []).append("127.0.0.0/8")
            text = json.dumps(site)
        file.write_text(text)

    def place(self, name: str) -> Path:
        """Where a file of a page's is."""
        name = self.put(name)
        return self.home / name.removeprefix("~/")

    def put(self, text: str) -> str:
        """With what stands for the page's hosts, secrets and folders here."""
        for old, new in self.said.items():
            text = text.replace(old, new)
        return text

    def run(self, commands: str, *, stdin: str = "", code: int = 0, where: str = "") -> str:
        """Run commands in the reader's shell; what they say on stdout."""
        state = self.home.parent / "state"
        done = subprocess.run(
            ["/bin/bash", "-c", _AROUND.format(state=state, commands=self.put(commands))],
            env=self.environment,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, (where, commands, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    def variables(self) -> dict[str, str]:
        """What is exported by now."""
        told = self.run("env -0")
        return dict(line.split("=", 1) for line in told.split("\0") if line)

    def typed(self, block: Block) -> str:
        """What the reader answers to commands that ask."""
        asked = block.marks.get("stdin", "").split()
        return "".join(f"{self.secrets[name]}\n" for name in asked)

    def _type(self, block: Block, where: str) -> str:
        stdin = self.typed(block)
        code = int(block.marks.get("exit", 0))
        waiting: list[str] = []
        out = ""

        def run(code: int) -> None:
            nonlocal out
            if waiting:
                out += self.run("".join(waiting), stdin=stdin, code=code, where=where)
                waiting.clear()

        for line in block.content.splitlines(keepends=True):
            for hooks in (self.before, self.instead):
                for wanted, hook in hooks.items():
                    if found := re.fullmatch(wanted, line.rstrip("\n")):
                        run(0)
                        hook(self, found)
                        if hooks is self.instead:
                            line = ""
            if line:
                waiting.append(line)
        run(code)
        return out

    def _at_night(self, block: Block, where: str) -> None:
        """As cron does it: no terminal, almost no environment, and mail if something is said."""
        for line in block.content.splitlines():
            found = re.fullmatch(r"(?:[\d*,/-]+ +){5}(.*)", line)
            assert found is not None, where
            done = subprocess.run(
                ["/bin/sh", "-c", self.put(found[1])],
                env={"HOME": str(self.home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
                start_new_session=True,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), where


def pattern(shown: str) -> re.Pattern[str]:
    """What is shown, with any numbers in the place of its own."""
    made = _NUMBER.pattern.join(re.escape(part) for part in _NUMBER.split(shown))
    # A machine that has much to do may take minutes.
    return re.compile(made.replace(rf"in\ {_NUMBER.pattern}\ s;", r"in\ [\w.: ]+;"))


def contains(answer: Any, shown: Any) -> bool:
    """Whether an answer has all that is shown. A number other than 0 may be another one."""
    match shown:
        case dict():
            return isinstance(answer, dict) and all(
                name in answer and contains(answer[name], value) for name, value in shown.items()
            )
        case list():
            return isinstance(answer, list) and len(answer) == len(shown)
        case bool() | None:
            return answer is shown
        case int() | float():
            return isinstance(answer, int | float) and bool(answer) == bool(shown)
        case _:
            return isinstance(answer, str) and bool(pattern(str(shown)).fullmatch(answer))


@contextmanager
def storage(reader: Reader, command: str) -> Iterator[str]:
    """`rclone serve …` in the reader's shell, on a port that the kernel chose; its host:port."""
    words = shlex.split(reader.put(command))
    words[words.index("--addr") + 1] = "127.0.0.1:0"
    program = shutil.which(words[0], path=reader.variables()["PATH"])
    assert program is not None
    with subprocess.Popen(
        [program, *words[1:]],
        env=reader.environment,
        cwd=reader.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                    break
            else:
                raise AssertionError(f"{command} does not serve")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield found[1]
        finally:
            process.kill()


@contextmanager
def serving(reader: Reader, site: Path | None) -> Iterator[str]:
    """`efss-transfer serve` in the reader's shell, on a port that the kernel chose; its URL."""
    runtime = reader.home.parent / "run"
    runtime.mkdir(exist_ok=True)
    environment = {**reader.variables(), "EFSS_TRANSFER_RUNTIME_DIR": str(runtime)}
    program = shutil.which("efss-transfer", path=environment["PATH"])
    assert program is not None
    if site is not None:
        environment["EFSS_TRANSFER_SITE"] = str(site)
    with subprocess.Popen(
        [program, "serve", "--port", "0"],
        env=environment,
        cwd=reader.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"serving at (http://127\.0\.0\.1:\d+)", line):
                    break
            else:
                raise AssertionError("it does not serve")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield found[1]
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                if process.poll() is None:
                    process.kill()
    service_process.wait_clean(runtime, 15)


@contextmanager
def leading(hosts: Mapping[str, int]) -> Iterator[str]:
    """A proxy by which hosts of that name are on this machine, at that port; its URL."""

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            wanted = self.rfile.readline().decode().split()[1].rpartition(":")[0]
            while self.rfile.readline().strip():
                pass
            with socket.create_connection(("127.0.0.1", hosts[wanted])) as there:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                thread = threading.Thread(target=_carry, args=(there, self.connection))
                thread.start()
                _carry(self.connection, there)
                thread.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with (
        Server(("127.0.0.1", 0), Tunnel) as server,
        storages.serving(lambda: server.serve_forever(0.02), server.shutdown),
    ):
        yield f"http://127.0.0.1:{server.server_address[1]}"


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side has gone
