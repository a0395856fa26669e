"""Chunks that an object store keeps as the parts of one object, as true chunking v2 does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from support.nextcloud import errors
from support.nextcloud.cloud import Upload
from support.nextcloud.dav import preconditions
from support.nextcloud.dav.spaces import Space
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Node

_MOST: Final = 10_000
_SMALLEST: Final = 5 << 20


def begin(exchange: Exchange, upload: Upload, files: Space) -> None:
    """Begin a multipart upload: into the file that is there, or into a new one."""
    upload.parts = {}
    there = files.find(files.inside(preconditions.destination(exchange)) or "")
    upload.onto = there if isinstance(there, File) else None


def put(upload: Upload, chunk: File) -> None:
    """Keep a chunk as a part; the file that it belongs to is listed with a larger size."""
    assert upload.parts is not None
    number = int(float(chunk.name)) if chunk.name.replace(".", "", 1).isdecimal() else 0
    if not 0 < number <= _MOST:
        raise errors.bad_request("Invalid chunk name, must be numeric between 1 and 10000")
    content = chunk.content.read_bytes()
    etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
    upload.parts[number] = replace(chunk, name=str(number), etag=etag)
    if upload.onto is not None:
        upload.onto.size += chunk.size


def leave(upload: Upload) -> None:
    """Forget a session; the file that it would have replaced keeps the wrong size."""
    upload.onto = None


def listed(upload: Upload, at: str) -> Iterator[tuple[str, Node]]:
    """The entries of a listing of the session."""
    if upload.parts is None:
        return
    if upload.onto is None:
        parts = upload.parts.values()
        some = next(iter(parts), None)
        if some is not None:
            size = sum(part.size for part in parts)
            yield f"{at}/.target", replace(some, name=".target", etag="target", size=size)
    for number, part in sorted(upload.parts.items()):
        yield f"{at}/{number}", part


def whole(upload: Upload, there: Node | None) -> list[File]:
    """The parts in their order, as the store puts them together."""
    assert upload.parts is not None
    if upload.onto is not there:
        raise _refused("NoSuchUpload")  # it looks into another object
    parts = [part for _, part in sorted(upload.parts.items())]
    if any(part.size < _SMALLEST for part in parts[:-1]):
        raise _refused("EntityTooSmall")
    return parts


def _refused(code: str) -> errors.DavError:
    """An error of the object store."""
    return errors.DavError(500, r"Aws\S3\Exception\S3Exception", code)
