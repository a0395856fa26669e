"""Collects from rclone's log the files whose checksums differ after their copy, until it is known
whether a storage's checksums are those of its files at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from efss_transfer.model.result import Failure

# fs/operations/copy.go, verify
_DIFFER: Final = re.compile(
    r'corrupted on transfer: (\S+) hashes differ src\(.*\) "([^"]*)" vs dst\(.*\) "([^"]*)"$', re.S
)
# A server that has compared an upload with the source's checksum, which rclone sends along.
_REFUSED: Final = re.compile(r"\bBadDigest\b|computed checksum does not match")
# fs/operations/operations.go, checkHashes
_MATCH: Final = re.compile(r"\S+ = ([0-9A-Za-z]+) OK$")
_NOT_COMPUTED: Final = re.compile(r"Failed to calculate (?:src|dst) hash: ")
_EMPTY: Final = re.compile(r"(?:Src|Dst) hash empty - aborting ")
_UNREMOVED: Final = "Failed to remove failed copy: "
_HASH_OF_REFUSED: Final = "md5"
_NOTHING: Final = frozenset(
    {"d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709"}
)
"""Checksums of empty files, which a server is right about that reads other files in their place."""
_ENOUGH: Final = 3


@dataclass(frozen=True)
class Mismatch:
    """A file whose copy failed for its checksum. An unknown checksum is empty."""

    path: str
    hash_type: str
    at_source: str
    at_destination: str
    failure: Failure


class Mismatches:
    """The files of one attempt whose checksums differ, as long as no file's are the same.

    The thread that reads the log adds to them; the thread that drives the transfer takes them, and
    settles whether the checksums are right.
    """

    def __init__(self) -> None:
        self._found: dict[str, Mismatch] = {}
        self.has_matched = False
        """Whether both sides had the same checksum for any file of this transfer."""
        self.is_settled = False
        """Whether a file whose checksums differ has failed, and needs no other look."""
        self.has_found = False
        """Whether the log of this attempt has a difference that was settled apart."""
        self.unremoved: set[str] = set()
        """Failed copies that could not be removed, by their names at the destination."""
        self.unsure: set[str] = set()
        """Whole copies that were not compared, because a stop for others came first."""
        self.without: set[str] = set()
        """Files that rclone compares, of which a side has no checksum of the common kind."""

    def begin_attempt(self) -> None:
        """Forget the files of the attempt before."""
        self._found.clear()
        self.unremoved.clear()
        self.unsure.clear()
        self.without.clear()
        self.has_found = self.is_settled = False

    @property
    def are_enough(self) -> bool:
        """Whether so many files differ, and none does not, that the checksums must be looked at
        before others are copied in vain.
        """
        return not self.has_matched and len(self._found) >= _ENOUGH

    @property
    def paths(self) -> frozenset[str]:
        """The files that are still to be settled."""
        return frozenset(tuple(self._found))

    def take(self) -> tuple[Mismatch, ...]:
        """Remove and return the files that are still to be settled."""
        found = tuple(self._found.values())
        for mismatch in found:
            self._found.pop(mismatch.path, None)
        return found

    def take_unsure(self) -> tuple[str, ...]:
        """Remove and return the files whose copies were not compared."""
        unsure = tuple(sorted(self.unsure))
        self.unsure.clear()
        return unsure

    def settle(self) -> None:
        """From now on let a file fail whose checksums differ."""
        self.is_settled, self.has_found = True, False

    def take_line(self, message: str, name: str) -> bool:
        """Take a line that is no error, and return whether it is about a checksum."""
        if match := _MATCH.match(message):
            self.has_matched = self.has_matched or match[1].lower() not in _NOTHING
        elif message.startswith(_UNREMOVED):
            self.unremoved.add(name)
        elif _EMPTY.match(message):
            self.without.add(name)
        else:
            return False
        return True

    def take_error(self, message: str) -> bool:
        """Take an error that is no file's, and return whether another line says what comes of it:
        a file without a checksum counts as different.
        """
        return _NOT_COMPUTED.match(message) is not None

    def take_failure(
        self, path: str, text: str, failure: Callable[[], Failure], *, is_stopping: bool
    ) -> bool:
        """Take the failure of a file, and return whether it needs no other report for now."""
        differ = _DIFFER.match(text)
        if differ is None and not _REFUSED.search(text):
            return False
        if is_stopping and differ is not None and not (differ[2] and differ[3]):
            return True  # The stop has cut off the comparison; rclone removes the copy.
        if self.is_settled or self.has_matched:
            return False
        self.has_found = True
        sums = differ.groups() if differ is not None else (_HASH_OF_REFUSED, "", "")
        self._found[path] = Mismatch(path, sums[0].lower(), sums[1], sums[2], failure())
        return True
