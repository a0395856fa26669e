"""Files on one side of a transfer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A file on one side: the fs of a folder, and the path below it."""

    fs: str
    path: str

    @property
    def parameters(self) -> dict[str, str]:
        """As an rc call names the file."""
        return {"fs": self.fs, "remote": self.path}
