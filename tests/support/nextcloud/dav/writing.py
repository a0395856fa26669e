"""Storing of contents, by a PUT or at the end of a chunked upload.

Nextcloud 32.0.1 on local storage writes a new file to a temporary name and renames it; it
overwrites an existing file in place, with the file's lock held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from support.nextcloud import errors
from support.nextcloud.cloud import NEW_FILE
from support.nextcloud.dav.spaces import Space, check_name
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Folder
from support.stand_in.exchange import ConnectionLost


def mtime_of(value: str | None) -> int | None:
    """Parse X-OC-Mtime; refuse a time before 1970-01-02."""
    if value is None:
        return None
    whole = re.fullmatch(r"-?\d+", value)
    if not whole or int(value) <= 86400:
        raise errors.invalid_mtime(value)
    return int(value)


def check_quota(exchange: Exchange, space: Space, path: str, size: int) -> None:
    """Refuse an upload beyond the quota; the size of a file that it replaces is not deducted."""
    free = space.user.free()
    required = max(size, int(exchange.header("OC-Total-Length") or 0))
    if free is not None and required > free:
        raise errors.insufficient_storage(space.account_path(path), required, free)


def arriving(exchange: Exchange) -> Iterator[bytes]:
    """Stream the body. A body of unknown length yields nothing: php-fpm does not pass it on."""
    unknown = exchange.chunked
    for piece in exchange.pieces():
        if not unknown:
            yield piece


def store(
    exchange: Exchange,
    space: Space,
    path: str,
    pieces: Iterable[bytes],
    mtime: str | None,
    checksum: str,
) -> tuple[File, bool]:
    """Store a content at a path; return the file, and whether it is new.

    A refused time is detected after the content was stored, and the content stays.
    """
    there = space.find(path)
    if isinstance(there, Folder):
        raise errors.conflict("A folder is there")
    if there is None:
        file = _create(exchange, space, path, pieces)
    else:
        file = _replace(exchange, space, path, there, pieces)
    with exchange.cloud.guard:
        file.checksum = ""
        given = mtime_of(mtime)
        if given is not None:
            file.stored(given)
        file.checksum = checksum
    return file, there is None


def _replace(
    exchange: Exchange, space: Space, path: str, there: File, pieces: Iterable[bytes]
) -> File:
    """Overwrite in place. If the body is cut off, the file is truncated, but its listing is not
    updated until the next GET."""
    cloud = exchange.cloud
    with cloud.holding(space.key(path), exclusive=True, above=space.above(path)):
        exchange.spend()
        with there.content.open("wb") as content:
            cloud.on_replace(path)
            for piece in pieces:
                content.write(piece)
                content.flush()
        with cloud.guard:
            there.stored(None)
    return there


def _create(exchange: Exchange, space: Space, path: str, pieces: Iterable[bytes]) -> File:
    """Write to a temporary name, then rename; a body that is cut off leaves nothing."""
    cloud = exchange.cloud
    parent, name = space.parent(path, errors.not_found("/" + path.rpartition("/")[0]))
    part = space.key(path) + NEW_FILE
    above = space.above(path)
    with cloud.holding(part, exclusive=True, above=above):
        blank = space.user.tree.blank()
        try:
            with blank.open("wb") as content:
                for piece in pieces:
                    content.write(piece)
        except ConnectionLost:
            blank.unlink()
            raise
        with cloud.holding(space.key(path), exclusive=True, above=above):
            exchange.spend()
            with cloud.guard:
                there = space.find(path)
                if isinstance(there, File):
                    blank.replace(there.content)
                    there.stored(None)
                    return there
                return space.user.tree.add_file(parent, name, blank, None)


def free_name(space: Space, path: str) -> str:
    """Find a free name, as a file drop does when the name exists."""
    head, _, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    for count in range(2, 10_000):
        tried = f"{stem} ({count}){dot}{suffix}" if stem else f"{name} ({count})"
        candidate = f"{head}/{tried}" if head else tried
        if space.find(candidate) is None:
            return candidate
    raise AssertionError(path)


def check_place(space: Space, path: str) -> None:
    """Refuse a path with a missing parent or a forbidden name."""
    _, name = space.parent(path, errors.not_found("/" + path.rpartition("/")[0]))
    check_name(name)
