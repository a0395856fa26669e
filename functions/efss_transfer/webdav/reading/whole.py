"""Decides whether a listing that was read to its end is that of the whole folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.reading.bad_listings import CutOff, Malformed

_FULL: Final = 507


class Placed(Protocol):
    """An entry with its name in the folder; None for the folder itself."""

    @property
    def name(self) -> str | None:
        """Return the name."""

    @property
    def entry(self) -> Entry:
        """Return the entry."""


_Placed = TypeVar("_Placed", bound=Placed)


class Whole(Generic[_Placed]):
    """The entries of one listing of that depth, in their order."""

    def __init__(self, depth: str) -> None:
        self._is_of_folder = depth != "0"
        self._own: Entry | None = None
        self._count = 0

    def take(self, found: list[_Placed]) -> list[_Placed]:
        """Return the entries. Raises CutOff if one says that the listing is cut off, as those of
        sync-collection and SEARCH do: the folder is there again, with 507.
        """
        for one in found:
            if one.name is not None:
                self._count += 1
                continue
            self._own = one.entry
            if self._is_of_folder and one.entry.status == _FULL:
                raise CutOff(str(_FULL))
        return found

    def end(self) -> None:
        """Raises Malformed if the folder is a file with content, as its own entry shows: the
        listing of the folder above says otherwise.
        """
        own = self._own
        if not self._is_of_folder or own is None or self._count or own.collection:
            return
        if isinstance(own.length, int) and own.length > 0:
            raise Malformed("it is listed as a folder, and is a file with content")


def redirected(answer: Answer) -> str:
    """Name the last redirect that led to an answer, without its query, which may be secret."""
    redirects: Sequence[str] = answer.redirects
    return f"redirected to {redirects[-1].partition('?')[0]}: " if redirects else ""
