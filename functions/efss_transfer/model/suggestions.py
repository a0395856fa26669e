"""Suggestions for a name that is unknown, such as that of a member or a storage type.

The page has the same function in functions/page/suggestions.js; tests compare both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# A longer name is no slip of a known one, and comparing it would take time.
_MAX_LENGTH = 40


def suggestion(
    name: str, known: Iterable[str], synonyms: Mapping[str, Sequence[str]] | None = None
) -> str | None:
    """Return the known name that was probably meant, or None.

    That is the first known one of its `synonyms`, or the nearest one, without regard to case and
    `-` for `_`. It may differ in one letter of three, and in three at most.
    """
    if len(name) > _MAX_LENGTH:
        return None
    known = tuple(known)
    folded = _folded(name)
    for other in (synonyms or {}).get(folded, ()):
        if other in known:
            return other
    most = min(3, max(1, len(folded) // 3))
    nearest: str | None = None
    for candidate in known:
        distance = _distance(folded, _folded(candidate), most)
        if distance <= most:
            nearest, most = candidate, distance - 1
    return nearest


def did_you_mean(
    name: str, known: Iterable[str], synonyms: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return a sentence with the suggestion, after a space; or nothing."""
    found = suggestion(name, known, synonyms)
    return f" Did you mean `{found}`?" if found is not None else ""


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _distance(one: str, other: str, most: int) -> int:
    """Count insertions, deletions, substitutions and swaps of neighbours; stop above `most`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, its in enumerate(other, 1):
            cost = min(
                above[column] + 1,
                current[column - 1] + 1,
                above[column - 1] + (letter != its),
            )
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == its:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        if min(current) > most:
            return most + 1
        before, above = above, current
    return above[-1]
