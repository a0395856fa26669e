"""What a server is to do wrong, and what it has done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a server does wrong: to a listing, one entry of it, a reading, a writing."""

    LISTING_REFUSED = "listing refused"
    LISTING_CUT = "listing cut"
    LISTING_PAGE = "listing is a page"
    LISTING_JSON = "listing is JSON"
    LISTING_EMPTY = "listing is empty"
    ENTRY_BAD = "entry has an error"
    ENTRY_FOREIGN = "entry has a foreign href"
    ENTRY_LONGER = "entry says a larger size"
    ENTRY_SHORTER = "entry says a smaller size"
    ENTRY_ZERO = "entry says size 0"
    ENTRY_SIZELESS = "entry has no size"
    ENTRY_HASH = "entry has another hash"
    ENTRY_LOST = "entry is lost"
    READ_REFUSED = "read refused"
    READ_CUT = "read cut off"
    READ_SHORT = "read is shorter"
    READ_CHANGED = "read is changed"
    WRITE_REFUSED = "write refused"
    WRITE_SHORT = "write stores less"
    WRITE_CHANGED = "write stores other bytes"
    WRITE_LOST = "write stores nothing"
    WRITE_UNANSWERED = "write is stored and not answered"
    DELAY = "delay"
    TREE_CUT = "tree cut"
    TREE_LACKS_FILE = "tree lacks a file"
    TREE_LACKS_FOLDER = "tree lacks a folder and what is in it"
    TREE_SHALLOW = "tree is a listing of depth 1"
    TREE_TWICE = "tree comes twice"
    TREE_FOREIGN = "tree has a foreign href"
    ARCHIVE_LACKS = "archive lacks a file"
    ARCHIVE_SHORT = "archive has half of a file"
    ARCHIVE_EMPTY = "archive has nothing of a file"
    ARCHIVE_CRC = "archive has other bytes than its CRC"
    ARCHIVE_SIZE = "archive tells another size"
    ARCHIVE_BOMB = "archive is a bomb"
    ARCHIVE_OTHER_NAME = "archive has a file by another name"
    ARCHIVE_ERROR = "archive has the text of an error in place of a file"
    ARCHIVE_MORE = "archive has a file that nobody asked for"
    ARCHIVE_TWICE = "archive has each file twice"
    ARCHIVE_CUT = "archive cut"
    ARCHIVE_PAGE = "archive is a page"
    BULK_LACKS = "bulk answer lacks a file"
    BULK_ETAG = "bulk answer has another ETag"
    BULK_SWAPPED = "bulk answer mixes up two files"
    BULK_ERROR = "bulk answer refuses a file that is stored"
    BULK_ODD = "bulk answer has a list for a file"
    BULK_LOST = "bulk upload stores nothing of a file"
    BULK_SHORT = "bulk upload stores half of a file"
    BULK_CUT = "bulk answer breaks off"
    BULK_PAGE = "bulk answer is a page"
    BULK_REFUSED = "bulk upload is reset"
    SESSION_LACKS = "session forgets a chunk"
    SESSION_SHORT = "session forgets half of a chunk"
    SESSION_GONE = "session is gone"
    MERGE_UNANSWERED = "chunks are merged and not answered"
    MERGE_REFUSED = "chunks are not merged"
    TUS_FORGETS = "tus forgets half of what it had"
    TUS_OFFSET = "tus tells another offset"
    TUS_LOST = "tus makes no file"
    TUS_BYTES = "tus keeps other bytes"
    TUS_GONE = "tus forgets an upload"


DELAY_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Trouble:
    """One of them, at a path, so many times (None: always)."""

    kind: Kind
    path: str
    times: int | None = None

    def below(self, folder: str) -> Trouble:
        """The same below a folder."""
        return replace(self, path="/".join(filter(None, (folder, self.path))))


@dataclass
class Troubles:
    """Those that are planned. `met` has each that a request met."""

    met: list[Trouble] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._planned: list[Trouble] = []
        self._guard = threading.Lock()

    def plan(self, troubles: Iterable[Trouble]) -> None:
        """Plan these and no others."""
        with self._guard:
            self._planned = list(troubles)
            self.met = []

    def meets(self, kind: Kind, path: str) -> bool:
        """Whether what is done at a path now meets such a trouble; it is counted."""
        with self._guard:
            for number, planned in enumerate(self._planned):
                if planned.kind is not kind or planned.path != path or planned.times == 0:
                    continue
                if planned.times is not None:
                    self._planned[number] = replace(planned, times=planned.times - 1)
                self.met.append(planned)
                return True
        return False

    def pause(self, path: str) -> None:
        """Be late, if a delay is met at a path now."""
        if self.meets(Kind.DELAY, path):
            time.sleep(DELAY_SECONDS)

    def first(self, kinds: Iterable[Kind], path: str) -> Kind | None:
        """The first of some kinds that is met at a path now."""
        return next((kind for kind in kinds if self.meets(kind, path)), None)


READS: Final = (Kind.READ_REFUSED, Kind.READ_CUT, Kind.READ_SHORT, Kind.READ_CHANGED)
STORES: Final = (Kind.WRITE_REFUSED, Kind.WRITE_SHORT, Kind.WRITE_CHANGED)
"""What a server with files does to an upload; one of HTTP also does `ANSWERS`."""
ANSWERS: Final = (Kind.WRITE_LOST, Kind.WRITE_UNANSWERED)

PAGE: Final = b"<!doctype html><html><title>Log in</title><form><input name=password></form></html>"
JSON: Final = b'{"installed": true, "maintenance": false}'


def changed(content: bytes) -> bytes:
    """Other bytes of the same number."""
    return content[:-1] + bytes([content[-1] ^ 0x55]) if content else content


def shortened(content: bytes) -> bytes:
    """The beginning of it."""
    return content[: len(content) // 2]
