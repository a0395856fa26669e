"""The shard of a path, computed as rclone's own filter does.

rclone does not filter files that it is given by name, so the service selects them.

rclone 1.75 computes the MD5 of the path relative to the source (in NFC and lower case, so that
two names which a storage may treat as one are in the same shard), reads its first eight bytes as
a little-endian number, and divides that by the number of shards: the remainder is the shard
(fs/filter/filter.go). A test compares this module with rclone, for unusual names. rclone filters
both sides by the same path, so a shard also sees the destination's copies of its files.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import replace
from typing import Final

from efss_transfer.model.request import Selection
from efss_transfer.model.result import Shard

_HASH_BYTES: Final = 8


def contains(shard: Shard, path: str) -> bool:
    """Whether a path, relative to the source, belongs to the shard."""
    digest = hashlib.md5(folded(path).encode("utf-8", "replace"), usedforsecurity=False).digest()
    return int.from_bytes(digest[:_HASH_BYTES], "little") % shard.count == shard.index


def select_shard(selection: Selection) -> Selection:
    """The selection with only those listed files that belong to its shard, perhaps none."""
    shard = selection.shard
    if shard is None or selection.files is None:
        return selection
    return replace(
        selection, files=tuple(file for file in selection.files if contains(shard, file.path))
    )


def folded(path: str) -> str:
    """The path in lower case, as Go converts it: letter by letter, each to a single letter."""
    if path.isascii():
        return path.lower()
    return "".join(letter.lower()[:1] for letter in unicodedata.normalize("NFC", path))
