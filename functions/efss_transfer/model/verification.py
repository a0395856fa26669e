"""The outcome of a verification, as it is reported in a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class VerifyMode(StrEnum):
    """How the source and the destination are compared after a copy."""

    NONE = "none"
    SIZE = "size"
    CHECKSUM = "checksum"
    DOWNLOAD = "download"


@dataclass(frozen=True)
class Verification:
    """The outcome of comparing both sides after the copy. Counts are files.

    `mode` is the comparison that was possible: sizes, if the storages have no checksum in
    common. `hash` is the checksum's algorithm. `by_size` counts the files among `checked`
    that were compared by size because a storage had no checksum for them.
    """

    mode: VerifyMode
    checked: int = 0
    differing: int = 0
    missing: int = 0
    hash: str | None = None
    by_size: int = 0

    @property
    def compared_by_size(self) -> int:
        """The number of files that were compared by size alone."""
        return self.checked if self.mode is VerifyMode.SIZE else self.by_size

    def to_json(self) -> dict[str, Any]:
        """A result's `verification`."""
        json: dict[str, Any] = {"mode": self.mode.value}
        if self.hash is not None:
            json["hash"] = self.hash
        json |= {"checked": self.checked, "differing": self.differing, "missing": self.missing}
        if self.by_size:
            json["by_size"] = self.by_size
        return json


def added(one: Verification | None, other: Verification | None) -> Verification | None:
    """The outcome of two comparisons by the same mode, of different files."""
    if one is None or other is None:
        return one or other
    sums = {
        name: getattr(one, name) + getattr(other, name)
        for name in ("checked", "differing", "missing", "by_size")
    }
    return replace(one, **sums)
