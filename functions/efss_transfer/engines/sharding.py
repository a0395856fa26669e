"""Which part of the files a path is in: what rclone's own filter decides, decided here for
files that rclone is given by their names, and does not filter.

rclone 1.75 takes MD5 of the path relative to the source (in NFC and small letters, so that
two names which a storage may take for one are in the same part), the first eight bytes of it
as a little-endian number, and what remains when that is divided by the count
(fs/filter/filter.go). A test holds this to rclone itself, with odd names. It filters both
sides by the same path, so that what is at the destination is seen by the shard that copies it.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import replace
from typing import Final

from efss_transfer.model.request import Selection
from efss_transfer.model.result import Shard

_BYTES: Final = 8


def contains(shard: Shard, path: str) -> bool:
    """Whether a path, relative to the source, is in this part."""
    digest = hashlib.md5(_folded(path).encode("utf-8", "replace"), usedforsecurity=False).digest()
    return int.from_bytes(digest[:_BYTES], "little") % shard.count == shard.index


def select_shard(selection: Selection) -> Selection:
    """The selection with those of its listed files that are in its part; they can be none."""
    shard = selection.shard
    if shard is None or selection.files is None:
        return selection
    return replace(
        selection, files=tuple(file for file in selection.files if contains(shard, file.path))
    )


def _folded(path: str) -> str:
    """As Go makes letters small: each by itself, and to a single one."""
    return "".join(letter.lower()[:1] for letter in unicodedata.normalize("NFC", path))
