"""Names of the sessions and chunks of large uploads, and the sizes of chunks.

A later transfer knows only from these names whether it may resume an upload. The name of a chunk
begins with its number and holds the SHA-1 of all bytes before it, which is known when the chunk is
sent. All of it is one decimal number, because Nextcloud takes nothing else for a chunk where an
object store keeps it. There it forgets the name: it lists the parts by number, with the ETag of the
object store, which is the MD5 of the part. Such a part proves itself.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

MOST_CHUNKS: Final = 10_000
SMALLEST: Final = 5 << 20
"""The smallest part that object stores take, but for the last one."""
_FIRST: Final = 16 << 20
_LARGEST: Final = 64 << 20
_SECONDS: Final = 5.0
_DIGITS: Final = 49
"""Decimal digits of a SHA-1."""
_WRITER_DIGITS: Final = 9

_SESSION: Final = re.compile(
    r"efss-transfer-([0-9a-f]{8})[0-9a-f]{16}-([0-9a-f]{16})-([0-9a-f]{16})"
)
_CHUNK: Final = re.compile(rf"(\d{{5}})\.(\d{{{_DIGITS}}})\d{{{_WRITER_DIGITS}}}(\d{{{_DIGITS}}})?")
_PART: Final = re.compile(r"[1-9]\d{0,4}")
_MD5: Final = re.compile(r"[0-9a-f]{32}")
RELEASED: Final = "released"
"""Name of an empty file in a session of parts that nobody writes to any more."""


@dataclass(frozen=True)
class Key:
    """File that a session is for: by `path`, and by `state`, which a changed file has not.

    The state saves reading a changed file in vain. It is no proof: that is the chunks' names.
    """

    path: str
    state: str

    @classmethod
    def of(cls, target: str, size: int, headers: Mapping[str, str]) -> Key:
        """Make it of the file's place at the server, its size, time and checksum."""
        told = [str(size), headers.get("x-oc-mtime", ""), headers.get("oc-checksum", "")]
        return cls(_short(target), _short("\n".join(told)))

    def session(self) -> str:
        """Make up the name of a new session."""
        return (
            f"efss-transfer-{int(time.time()):08x}{secrets.token_hex(8)}-{self.path}-{self.state}"
        )


def key_of(session: str) -> Key | None:
    """Return the file that a session of this name is for; None for any other session."""
    found = _SESSION.fullmatch(session)
    return Key(found[2], found[3]) if found else None


def begun_at(session: str) -> int | None:
    """Return when a session was begun, in seconds since 1970; None if it is no such session."""
    found = _SESSION.fullmatch(session)
    return int(found[1], 16) if found else None


def writer() -> str:
    """Make up what a gateway adds to the names of its chunks.

    So two that write to one session by mistake add up to a wrong size, and the server refuses
    to make a file of it.
    """
    return f"{secrets.randbelow(10**_WRITER_DIGITS):0{_WRITER_DIGITS}d}"


def decimal(sha1: bytes) -> str:
    """Write a SHA-1 as it stands in the name of a chunk."""
    return f"{int.from_bytes(sha1):0{_DIGITS}d}"


def chunk_name(number: int, before: str, by: str) -> str:
    """Return the name of a chunk: `before` is the SHA-1 of all that is before it."""
    return f"{number:05d}.{before}{by}"


def released_name(name: str, after: str) -> str:
    """Return the name of the last chunk of a session that nobody writes to any more.

    `after` is the SHA-1 of all bytes to its end.
    """
    return f"{name}{after}"


@dataclass(frozen=True)
class Listed:
    """File of a session's folder as the server lists it."""

    name: str
    size: int
    written: float
    etag: str = ""


@dataclass(frozen=True)
class Chunk:
    """Chunk at the server; `after` is the SHA-1 of the file up to its end.

    It is None if only the chunk's own `md5` is known.
    """

    name: str
    size: int
    after: str | None
    md5: str | None = None


def are_parts(listed: Iterable[Listed]) -> bool:
    """Return whether an object store keeps the chunks of a session, as parts of one object."""
    return any(_PART.fullmatch(one.name) for one in listed)


def is_released(listed: Iterable[Listed]) -> bool:
    """Return whether the writer of a session has left it to others."""
    names = {one.name for one in listed}
    if RELEASED in names:
        return True
    last = max(names, default="")
    found = _CHUNK.fullmatch(last)
    return found is not None and found[3] is not None


def certain(
    listed: Iterable[Listed], known: Mapping[str, Chunk]
) -> tuple[list[Chunk], list[str]] | None:
    """Return the chunks from the start whose bytes are known by SHA-1, and the names of the rest.

    The SHA-1 to the end of a chunk stands in the name of the next one, or in its own if its session
    was released; `known` are chunks that this gateway sent. None if the folder has other files.
    """
    listed = list(listed)
    if are_parts(listed):
        return _certain_parts(listed, known)
    by_number: dict[int, list[tuple[Listed, str, str | None]]] = {}
    for one in listed:
        found = _CHUNK.fullmatch(one.name)
        if found is None:
            return None
        by_number.setdefault(int(found[1]), []).append((one, found[2], found[3]))
    chunks: list[Chunk] = []
    while len(here := by_number.get(len(chunks) + 1, [])) == 1:
        one, _, after = here[0]
        following = by_number.get(len(chunks) + 2, [])
        own = known.get(one.name)
        if own is not None and own.size == one.size:
            after = own.after
        elif after is None and len(following) == 1:
            after = following[0][1]
        if after is None:
            break
        chunks.append(Chunk(one.name, one.size, after))
    kept = {one.name for one in chunks}
    rest = [one.name for same in by_number.values() for one, _, _ in same if one.name not in kept]
    return chunks, rest


def _certain_parts(
    listed: Iterable[Listed], known: Mapping[str, Chunk]
) -> tuple[list[Chunk], list[str]] | None:
    """Return the parts of an object. None if there are others: no request removes a part."""
    sent = {int(name[:5]): chunk for name, chunk in known.items()}
    parts = {int(one.name): one for one in listed if one.name != RELEASED and one.name.isdecimal()}
    rest = [one.name for one in listed if not one.name.isdecimal()]
    if sorted(parts) != list(range(1, len(parts) + 1)) or rest not in ([], [RELEASED]):
        return None
    chunks: list[Chunk] = []
    for number, one in sorted(parts.items()):
        own = sent.get(number)
        if own is not None and own.size == one.size:
            chunks.append(own)
        elif _MD5.fullmatch(one.etag):
            chunks.append(Chunk(one.name, one.size, None, one.etag))
        else:
            return None
    return chunks, rest


def are_those(listed: Iterable[Listed], chunks: Iterable[Chunk]) -> bool:
    """Return whether the parts of an object are what was sent: as many, of the same sizes."""
    parts = {int(one.name): one.size for one in listed if _PART.fullmatch(one.name)}
    return parts == dict(enumerate((chunk.size for chunk in chunks), 1))


def chunk_size(left: int, chunks_left: int, most: int | None, rate: float | None) -> int:
    """Return the size of the next chunk of a file, of which so many bytes are left.

    It takes a few seconds, which is what a broken connection then costs; each chunk costs a server
    0.1 s or more besides. `most` is what the server recommends at most, `rate` the bytes a second
    of the last chunk.
    """
    largest = _LARGEST if most is None else max(SMALLEST, min(_LARGEST, most))
    wanted = _FIRST if rate is None else int(rate * _SECONDS)
    return min(left, max(SMALLEST, min(largest, wanted), -(-left // chunks_left)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
