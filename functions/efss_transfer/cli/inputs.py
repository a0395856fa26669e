"""Files, standard input and open descriptors that the command reads."""

from __future__ import annotations

import os
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


def _without_line_end(text: str) -> str:
    """Remove the line end that editors append."""
    return text.removesuffix("\n").removesuffix("\r")
