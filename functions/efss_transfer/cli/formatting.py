"""Format amounts for people, and make foreign text safe for a terminal."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: float) -> str:
    """Format bytes in powers of 1024, as rclone does."""
    power = min(max(int(count).bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{count / 1024**power:.1f} {_UNITS[power]}" if power else f"{int(count)} B"


def duration(seconds: float) -> str:
    """Format seconds with the two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def files(count: int) -> str:
    """Format a number of files: `1 file`, `2,000 files`."""
    return f"{count:,} file" if count == 1 else f"{count:,} files"


def printable(text: str) -> str:
    """Escape all that could end a line or control the terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
