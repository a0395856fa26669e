"""Reads the log lines of a verification: which files are equal, different or missing.

The messages are those of rclone 1.75 (fs/operations/check.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.model.result import Failure, Side

MISSING: Final = "After the copy the file is missing at the destination."
_EQUAL: Final = "OK"
_EQUAL_SIZE: Final = "OK - could not check hash"
_MISSING: Final = "file not in "
_DIFFERS: Final = re.compile(r"\S+ differ$")


@dataclass
class CheckCounts:
    """How many files a verification has compared so far. `by_size` are those of `equal` of which
    only the sizes could be compared.
    """

    equal: int = 0
    by_size: int = 0
    differing: int = 0
    missing: int = 0


def mismatch(side: Side | None, message: str) -> Failure:
    """The failure of a file that differs. It is not retryable: the same request would find the
    file unchanged and skip it.
    """
    return Failure("checksum_mismatch", message, retryable=False, side=side)


def difference(of: str) -> Failure:
    """The failure of a file whose two sides differ: in size, content, or a kind of checksum."""
    return mismatch(None, f"After the copy the two sides differ ({of}).")


class CheckLines:
    """Counts the comparisons that a verification logs, and adds mismatches to `outcomes`."""

    def __init__(self, outcomes: FileOutcomes, counts: CheckCounts) -> None:
        self._outcomes = outcomes
        self._counts = counts

    def take(self, message: str, name: str) -> bool:
        """Take a line, and return whether it was one of a verification."""
        if message in (_EQUAL, _EQUAL_SIZE):
            self._counts.equal += 1
            self._counts.by_size += message == _EQUAL_SIZE
        elif message.startswith(_MISSING):
            failure = mismatch(Side.DESTINATION, MISSING)
            self._counts.missing += self._outcomes.add_mismatch(name, failure)
        elif _DIFFERS.match(message):
            of = "content" if message.startswith("content") else message.partition(" ")[0]
            self._counts.differing += self._outcomes.add_mismatch(name, difference(of))
        else:
            return False
        return True
