"""Files, standard input and open descriptors that the command reads."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

_MAX_SECRET_LENGTH: Final = 65_536


def read_input(file: str) -> bytes:
    """Read a file, or standard input for `-`. Raises click.UsageError."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read ({error.strerror}).") from None


def secret_from_file(file: Path) -> str:
    """Read a secret from a file; empty if the file cannot be read."""
    try:
        with file.open(encoding="utf-8") as opened:
            return _without_line_end(opened.read(_MAX_SECRET_LENGTH))
    except (OSError, UnicodeDecodeError):
        return ""


def secret_from_descriptor(number: int) -> str:
    """Read a secret from an open file or pipe; empty if the descriptor cannot be read."""
    try:
        with os.fdopen(number, encoding="utf-8", closefd=False) as opened:
            return _without_line_end(opened.read(_MAX_SECRET_LENGTH))
    except (OSError, UnicodeDecodeError):
        return ""


def secret_from_command(text: str) -> str:
    """Read a secret from the output of a command; empty if it fails.

    No shell runs it. Its errors go to the terminal, and it may ask there, as password managers do.
    """
    try:
        done = subprocess.run(shlex.split(text), stdout=subprocess.PIPE, check=True)
        return _without_line_end(done.stdout[:_MAX_SECRET_LENGTH].decode("utf-8"))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ""


def _without_line_end(text: str) -> str:
    """Remove the line end that editors append."""
    return text.removesuffix("\n").removesuffix("\r")
