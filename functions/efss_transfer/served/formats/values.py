"""Read values of published JSON, which may have any type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from efss_transfer.served.checksums import SIZES, Checksum

_MOST: Final = 10**18
_LATEST: Final = 1 << 33


def members(value: Any) -> Mapping[str, Any]:
    """Return an object's members; none of anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> Iterator[Any]:
    """Yield the items of an array, or the one value in place of an array."""
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


def text(value: Any) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None


def size(value: Any) -> int | None:
    """Return a size in bytes, which may be written as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    is_size = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
    return value if is_size else None


def time(value: Any) -> int | None:
    """Return a date or a time in seconds since 1970."""
    try:
        parsed = datetime.fromisoformat(str(value))
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        seconds = int(parsed.timestamp())
    except (ValueError, OverflowError):
        return None
    # Outside of these, storages disagree about dates.
    return seconds if 0 <= seconds < _LATEST else None


def checksum(value: Any) -> Checksum | None:
    """Return a checksum that is written with its kind, or MD5 without one."""
    written = text(value)
    if written is None:
        return None
    return Checksum.parse(written if ":" in written else f"md5:{written}")


def strongest(described: Mapping[str, Any]) -> Checksum | None:
    """Return the strongest checksum that an object has as a member named after its kind."""
    for kind in reversed(SIZES):
        if (written := text(described.get(kind))) and (found := Checksum.of(kind, written)):
            return found
    return None
