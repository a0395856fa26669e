"""Reads the reply of `operations/list` piece by piece, and keeps its first entries.

A folder can have millions of entries. As one document they would take a kilobyte each.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from efss_transfer.model.listing import FolderEntry

_BEGINNING: Final = re.compile(r'"list":\s*\[')
_NEXT: Final = re.compile(r"[\s,]*")
_LONGEST_ITEM: Final = 1 << 22
# rclone's option `default_time`: what it says where a storage has no time.
_NO_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


class ListReader:
    """Takes the reply in pieces. `count` is the number of entries so far; `first` returns the
    first `limit` of them: folders first, then by name.
    """

    def __init__(self, limit: int, *, folders_have_times: bool = True) -> None:
        self.count = 0
        self._limit = limit
        self._folders_have_times = folders_have_times
        self._kept: list[tuple[bool, str, int, str]] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._has_begun = False

    def take(self, piece: bytes) -> None:
        """Take the next piece of the reply. Raises ValueError if it is no list of entries."""
        text, at = self._text + self._decoder.decode(piece), 0
        if not self._has_begun and (beginning := _BEGINNING.search(text)) is not None:
            self._has_begun, at = True, beginning.end()
        if self._has_begun:
            at = self._take_items(text, at)
        self._text = text[at:]
        if len(self._text) > _LONGEST_ITEM:
            raise ValueError("an entry is too long")

    def first(self) -> tuple[FolderEntry, ...]:
        """The first entries, in their order."""
        self._drop_rest()
        return tuple(self._entries())

    def _take_items(self, text: str, at: int) -> int:
        """Take all whole items, and return where the rest begins."""
        while True:
            start = _NEXT.match(text, at)
            at = at if start is None else start.end()
            if not text.startswith("{", at):
                return at
            try:
                item, at = self._decode(text, at)
            except ValueError:
                return at  # its end is yet to come
            self._add(item)

    def _add(self, item: Mapping[str, Any]) -> None:
        self.count += 1
        kept = (not item["IsDir"], str(item["Name"]), int(item["Size"]), str(item["ModTime"]))
        self._kept.append(kept)
        if len(self._kept) >= 2 * self._limit + 1_000:
            self._drop_rest()

    def _drop_rest(self) -> None:
        self._kept.sort()
        del self._kept[self._limit :]

    def _entries(self) -> Iterator[FolderEntry]:
        for is_file, name, size, modified in self._kept:
            has_time = is_file or self._folders_have_times
            yield FolderEntry(
                name,
                not is_file,
                size if is_file and size >= 0 else None,
                time_of(modified) if has_time else None,
            )


def time_of(text: str) -> datetime | None:
    """A time as rclone writes it; None where the storage has none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None or moment == _NO_TIME else moment.astimezone(UTC)
