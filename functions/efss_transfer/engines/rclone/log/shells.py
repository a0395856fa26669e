"""Notices SSH servers whose shell does not answer.

The messages are those of rclone 1.75 (backend/sftp/sftp.go): when rclone opens an SFTP storage, it
runs a command to find out the type of the shell, and waits for it without a limit.
"""

from __future__ import annotations

import re
import time
from typing import Final

_ASKED: Final = "Running shell type detection remote command: "
_ANSWERED: Final = re.compile(r"Remote command (?:result|failed): |Shell type ")


class UnansweredShells:
    """The SFTP storages whose shell was asked and has not answered, as rclone names them. The
    thread that reads the log calls `take`.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def take(self, message: str, name: str) -> bool:
        """Take a line of the log, and return whether it is about a shell."""
        if message.startswith(_ASKED):
            self._since.setdefault(name, time.monotonic())
            return True
        if _ANSWERED.match(message):
            self._since.pop(name, None)
            return True
        return False

    def silent(self, seconds: float) -> str | None:
        """A storage whose shell has not answered for that long."""
        until = time.monotonic() - seconds
        waiting = dict(self._since)  # One step, which the other thread cannot interrupt.
        return next((name for name, since in waiting.items() if since <= until), None)
