"""Notices names of a source that differ only in case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from efss_transfer.engines.sharding import folded

if TYPE_CHECKING:
    from efss_transfer.webdav.writes.stored_names import StoredNames


class AlikeNames:
    """The names of one listing, in eight bytes each."""

    def __init__(self) -> None:
        self._names: StoredNames | None = None
        self.found = False
        """Whether two of the names differ only in case; in rare cases, names that do not."""

    def add(self, name: str) -> None:
        """Add a name, which may be there already."""
        if self.found:
            return
        if self._names is None:
            # Here and not above, because a cold start would pay for it.
            from efss_transfer.webdav.writes.stored_names import StoredNames

            self._names = StoredNames()
        shared = folded(name)
        self.found = self._names.has_another(name, shared)
        self._names.add(name, shared)

    def forget(self) -> None:
        """Forget the names, but not whether two are alike."""
        self._names = None
