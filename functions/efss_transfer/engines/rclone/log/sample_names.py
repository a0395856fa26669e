"""Keeps a few names of a source's files, which a probe lists."""

from __future__ import annotations

from typing import Final

_MOST: Final = 20


class SampleNames:
    """Some names from one folder: the first that has files, of those nearest to the root."""

    def __init__(self) -> None:
        self._depth = -1
        self.folder = ""
        """The folder of the names; empty for the root."""
        self.names: list[str] = []
        """The paths of the files."""

    def add(self, name: str) -> None:
        """Add the path of a file, if it is one to keep."""
        depth = name.count("/")
        if self._depth not in (-1, depth) and depth > self._depth:
            return
        folder = name.rpartition("/")[0]
        if depth != self._depth:
            self._depth, self.folder, self.names = depth, folder, []
        if folder == self.folder and len(self.names) < _MOST and name not in self.names:
            self.names.append(name)
