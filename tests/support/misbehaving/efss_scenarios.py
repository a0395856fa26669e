"""Generated transfers between a Nextcloud and an OpenCloud that lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from support.misbehaving import efss
from support.misbehaving.scenarios import Scenario
from support.misbehaving.troubles import Kind, Trouble

LARGE: Final = "large.bin"
LARGE_ABOVE_MB: Final = 6
_FOLDERS: Final = ("a", "a/b", "c", "d", "d/e", "f")
_SIZES: Final = (1, 100, 5_000)
_OF_LARGE: Final = frozenset(
    {
        Kind.SESSION_LACKS,
        Kind.SESSION_SHORT,
        Kind.SESSION_GONE,
        Kind.MERGE_UNANSWERED,
        Kind.MERGE_REFUSED,
        Kind.TUS_FORGETS,
        Kind.TUS_OFFSET,
        Kind.TUS_LOST,
        Kind.TUS_BYTES,
        Kind.TUS_GONE,
    }
)


@dataclass(frozen=True)
class LyingScenario(Scenario):
    """A tree, the servers, their lies, and how the copy is asked for."""

    number: int


@st.composite
def lying_scenarios(draw: st.DrawFn, *, quick: bool) -> LyingScenario:
    """Any scenario; with `quick` none in which the service waits for a server."""
    source = draw(st.sampled_from(sorted(efss.SOURCES)))
    destination = draw(st.sampled_from(sorted(efss.DESTINATIONS)))
    count = draw(st.integers(1, 4))
    sizes = {
        f"{folder}/{number}.txt": draw(st.sampled_from(_SIZES))
        for folder in _FOLDERS
        for number in range(count)
    }
    reading = draw(_lies(efss.SOURCES[source], 0, quick=quick))
    writing = draw(_lies(efss.DESTINATIONS[destination], 1, quick=quick))
    if any(one.kind in _OF_LARGE for one in writing):
        sizes[LARGE] = (LARGE_ABOVE_MB << 20) + draw(st.integers(1, 5 << 20))
    options = {
        # A verification finds much that the copy itself should find: most have none.
        "verify": draw(st.sampled_from(["none"] * 3 + ["size", "checksum", "download"])),
        "attempts": draw(st.integers(1, 2 if quick else 3)),
        "report": "all",
    }
    number = draw(st.integers(0, 9))
    return LyingScenario(source, destination, sizes, reading, writing, options, number)


def _lies(
    ways: tuple[tuple[Kind, ...], ...], fewest: int, *, quick: bool
) -> st.SearchStrategy[tuple[Trouble, ...]]:
    chosen = [[one for one in way if not (quick and one in efss.SLOW)] for way in ways]
    kinds = st.sampled_from([way for way in chosen if way]).flatmap(st.sampled_from)
    times = st.sampled_from([1, 2] if quick else [None, 1, 2])
    one = st.builds(Trouble, kinds, st.just(""), times)
    return st.lists(one, min_size=fewest, max_size=2, unique_by=lambda it: it.kind).map(tuple)
