"""Decides whether a listing that was read to its end is that of the whole folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from efss_transfer.webdav.http.exchange import Answer
from efss_transfer.webdav.multistatus import Entry
from efss_transfer.webdav.reading.bad_listings import CutOff

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


def whole(found: list[_Placed], depth: str) -> list[_Placed]:
    """Return entries of a listing of that depth. Raises CutOff if one says that the listing is cut
    off, as those of sync-collection and SEARCH do: the folder is there again, with 507.
    """
    if depth != "0":
        for one in found:
            if one.name is None and one.entry.status == _FULL:
                raise CutOff(str(_FULL))
    return found


def redirected(answer: Answer) -> str:
    """Name the last redirect that led to an answer, without its query, which may be secret."""
    redirects: Sequence[str] = answer.redirects
    return f"redirected to {redirects[-1].partition('?')[0]}: " if redirects else ""
