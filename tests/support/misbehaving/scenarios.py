"""Generated transfers between servers that misbehave."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from support.misbehaving import ftp, s3, sftp, webdav
from support.misbehaving.troubles import Kind, Trouble

SOURCES: Final = {
    "webdav": webdav.SOURCE_KINDS,
    "s3": s3.SOURCE_KINDS,
    "sftp": sftp.SOURCE_KINDS,
    "ftp": ftp.SOURCE_KINDS,
}
DESTINATIONS: Final = {
    "webdav": webdav.DESTINATION_KINDS,
    "s3": s3.DESTINATION_KINDS,
    "sftp": sftp.DESTINATION_KINDS,
    "ftp": ftp.DESTINATION_KINDS,
}
_NAMES: Final = ("a.bin", "b.txt", "Z.dat", "sub/c.bin", "sub/d.bin", "sub/deep/e.bin")
_SIZES: Final = (1, 100, 5_000, 200_000)


@dataclass(frozen=True)
class Scenario:
    """A tree, the storages, what they do wrong, and how the copy is asked for."""

    source: str
    destination: str
    sizes: dict[str, int]
    reading: tuple[Trouble, ...]
    writing: tuple[Trouble, ...]
    options: dict[str, Any]

    def contents(self) -> dict[str, bytes]:
        """The files; no two begin or end alike."""
        return {
            path: random.Random(path).randbytes(size)  # noqa: S311  # no secret
            for path, size in self.sizes.items()
        }


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Any scenario whose troubles leave a trace."""
    source = draw(st.sampled_from(sorted(SOURCES)))
    destination = draw(st.sampled_from(sorted(DESTINATIONS)))
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=1, unique=True))
    sizes = {name: draw(st.sampled_from(_SIZES)) for name in sorted(names)}
    is_hashed = source == destination == "s3"  # no two others have a checksum in common
    verify = draw(st.sampled_from(["none", "size", "checksum", "download"]))
    # No two of one kind: a file that is changed in the same way twice is right to a second look.
    once: Any = {"max_size": 2, "unique_by": lambda one: (one.kind, one.path)}
    reading = draw(st.lists(_troubles(SOURCES[source], sizes), **once))
    writing = draw(st.lists(_troubles(DESTINATIONS[destination], {}), **once))
    return Scenario(
        source,
        destination,
        sizes,
        _told_apart(tuple(one for one in reading if _leaves_a_trace(one, is_hashed, verify))),
        tuple(one for one in writing if _leaves_a_trace(one, is_hashed, verify)),
        {"verify": verify, "attempts": draw(st.integers(1, 3)), "report": "all"},
    )


def _troubles(kinds: tuple[Kind, ...], sizes: dict[str, int]) -> st.SearchStrategy[Trouble]:
    files = st.sampled_from(sorted(sizes) or [""])
    folders = st.sampled_from(sorted({name.rpartition("/")[0] for name in sizes} | {""}))
    times = st.sampled_from([None, 1, 2, 3])
    return st.sampled_from(kinds).flatmap(
        lambda kind: st.builds(
            Trouble,
            st.just(kind),
            folders if kind.name.startswith(("LISTING", "DELAY")) else files,
            times,
        )
    )


def _told_apart(reading: tuple[Trouble, ...]) -> tuple[Trouble, ...]:
    """Without a second file whose checksum is not that of the bytes which are sent.

    If several are changed and no other file is right, the checksums are taken for none, as those of
    objects that are encrypted by KMS.
    """
    is_changed = any(one.kind is Kind.READ_CHANGED for one in reading)
    odd = [one for one in reading if one.kind in (Kind.READ_CHANGED, Kind.ENTRY_HASH)]
    return tuple(one for one in reading if not is_changed or one not in odd[1:])


def _leaves_a_trace(trouble: Trouble, is_hashed: bool, verify: str) -> bool:
    """Whether the service can see it at all.

    An entry that is never listed leaves none, nor do other bytes of the same length where the sides
    have no checksum in common. What passes is seen by a second look, which `verify` is.
    """
    if trouble.kind is Kind.ENTRY_LOST:
        return trouble.times == 1 and verify != "none"
    if trouble.kind is Kind.READ_CHANGED and not is_hashed:
        return trouble.times == 1 and verify == "download"
    if trouble.kind is Kind.WRITE_CHANGED and not is_hashed:
        return verify == "download"
    return True
