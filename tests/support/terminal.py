"""A pseudo-terminal with a person before it: what a command writes there, and keys to it."""

from __future__ import annotations

import os
import re
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CTRL_C: Final = b"\x03"
# Tests that run in the background have Ctrl-C ignored, and so would all that they start.
LISTENING: Final = ("env", "--default-signal")
_SEQUENCE: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|.)")


class Terminal:
    """What is on the other side of a command."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self._process = process
        self._screen = screen
        self._raw = bytearray()
        # Read all the time: a command that nobody reads would stand still.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was written, without colours and movements."""
        return _SEQUENCE.sub("", self.raw).replace("\r", "")

    @property
    def raw(self) -> str:
        """All that was written."""
        return bytes(self._raw).decode("utf-8", "replace")

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._screen, keys)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Until that has been written."""
        until = time.monotonic() + seconds
        while text not in self.text:
            assert self._process.poll() is None or self._reader.is_alive(), self.text
            assert time.monotonic() < until, self.text
            time.sleep(0.02)

    def end(self, seconds: float = 60) -> int:
        """The exit code, when it has ended."""
        code = self._process.wait(seconds)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._screen, 65536)
            except OSError:  # what Linux says when the last writer has gone
                return
            self._raw += piece


@contextmanager
def terminal(
    words: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    columns: int = 100,
    cwd: Path | None = None,
) -> Iterator[Terminal]:
    """Run a command whose controlling terminal, input and outputs are a pseudo-terminal."""
    screen, line = os.openpty()
    termios.tcsetwinsize(line, (30, columns))
    name = os.ttyname(line)
    try:
        # The first terminal that the leader of a session opens becomes its own.
        with subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', name, *LISTENING, *words],
            env={"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
            cwd=cwd,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        ) as process:
            before = Terminal(process, screen)
            # Closed when it has ended: before, the command may not have opened it yet, and the
            # reader would be told of an end; kept open, the reader would never be told of one.
            threading.Thread(target=_let_go, args=(process, line), daemon=True).start()
            try:
                yield before
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(screen)


def _let_go(process: subprocess.Popen[bytes], line: int) -> None:
    process.wait()
    os.close(line)
