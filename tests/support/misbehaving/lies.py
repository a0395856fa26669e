"""What an EFSS does wrong in its own ways: each function falsifies one answer."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final

from support.misbehaving.troubles import Kind, changed, shortened
from support.zips import ZIP_END, Entries, zip_entry, zip_of

Told = dict[str, Any]
"""Answer to a bulk upload, by path."""

Falsify = Callable[[Entries, int], bytes]
"""Function that makes another zip of the entries that one should have; a number chooses one."""


def _deflated(name: str, content: bytes) -> bytes:
    """An entry that unpacks to much more than it has bytes."""
    raw, packed = name.encode(), zlib.compress(content, wbits=-15)
    head = bytearray(zip_entry(name, b"")[: 30 + len(raw)])
    head[8:10] = (8).to_bytes(2, "little")
    sizes = len(packed).to_bytes(8, "little") + len(content).to_bytes(8, "little")
    return bytes(head) + packed + b"PK\7\x08" + zlib.crc32(content).to_bytes(4, "little") + sizes


def _with(its: Entries, at: int, entry: bytes) -> bytes:
    """A zip in which one entry is another one."""
    parts = [zip_entry(*one) for one in its]
    return b"".join([*parts[:at], entry, *parts[at + 1 :], ZIP_END])


def _files(its: Entries) -> list[int]:
    return [number for number, (name, _) in enumerate(its) if not name.endswith("/")]


def _one(act: Callable[[str, bytes], bytes]) -> Falsify:
    """Falsify the entry of one file."""

    def falsify(its: Entries, number: int) -> bytes:
        if not (files := _files(its)):
            return zip_of(its)
        at = files[number % len(files)]
        return _with(its, at, act(*its[at]))

    return falsify


ARCHIVES: Final[dict[Kind, Falsify]] = {
    Kind.ARCHIVE_LACKS: _one(lambda *_: b""),
    Kind.ARCHIVE_SHORT: _one(lambda name, content: zip_entry(name, shortened(content))),
    Kind.ARCHIVE_EMPTY: _one(lambda name, _: zip_entry(name, b"")),
    Kind.ARCHIVE_CRC: _one(
        lambda name, content: zip_entry(name, changed(content), crc=zlib.crc32(content))
    ),
    Kind.ARCHIVE_SIZE: _one(lambda name, content: zip_entry(name, content, size=len(content) + 7)),
    Kind.ARCHIVE_BOMB: _one(lambda name, content: _deflated(name, content + bytes(1 << 22))),
    Kind.ARCHIVE_OTHER_NAME: _one(lambda name, content: zip_entry(f"{name}x", content)),
    Kind.ARCHIVE_ERROR: _one(
        lambda name, content: zip_entry(
            name, b"error: too early".ljust(len(content))[: len(content)]
        )
    ),
    Kind.ARCHIVE_MORE: lambda its, _: zip_of([*its, ("other.bin", b"other")]),
    Kind.ARCHIVE_TWICE: lambda its, _: zip_of([*its, *its]),
    Kind.ARCHIVE_CUT: lambda its, number: (whole := zip_of(its))[: number * len(whole) // 10],
    Kind.ARCHIVE_PAGE: lambda *_: b"<!doctype html><title>Log in</title>",
}
"""An archive whose error text or other bytes only a checksum shows is one of a server with them."""


def tree_without(entries: list[str], kind: Kind, number: int) -> list[str]:
    """A listing of infinite depth that lacks something."""
    inner = [at for at, one in enumerate(entries) if at and not _is_folder(one)]
    folders = [at for at, one in enumerate(entries) if at and _is_folder(one)]
    match kind:
        case Kind.TREE_LACKS_FILE if inner:
            del entries[inner[number % len(inner)]]
        case Kind.TREE_LACKS_FOLDER if folders:
            href = _href(entries[folders[number % len(folders)]])
            return [one for one in entries if not _href(one).startswith(href)]
        case Kind.TREE_SHALLOW:
            top = _href(entries[0])
            return [one for one in entries if "/" not in _href(one).removeprefix(top).strip("/")]
        case Kind.TREE_TWICE:
            return [*entries, *entries]
        case Kind.TREE_FOREIGN if inner:
            at = inner[number % len(inner)]
            entries[at] = entries[at].replace("<d:href>/", "<d:href>/elsewhere/")
    return entries


def _href(entry: str) -> str:
    return entry.partition("<d:href>")[2].partition("</d:href>")[0]


def _is_folder(entry: str) -> bool:
    return _href(entry).endswith("/")


def bulk_answer(told: Told, kind: Kind, number: int) -> Told:
    """An answer to a bulk upload that is wrong about one file, which is stored."""
    if not told:
        return told
    name = sorted(told)[number % len(told)]
    other = sorted(told)[(number + 1) % len(told)]
    match kind:
        case Kind.BULK_LACKS:
            del told[name]
        case Kind.BULK_ETAG:
            told[name] = {**told[name], "etag": "0" * 32}
        case Kind.BULK_SWAPPED:
            told[name], told[other] = told[other], told[name]
        case Kind.BULK_ERROR:
            told[name] = {"error": True, "message": "It was stored all the same."}
        case Kind.BULK_ODD:
            told[name] = [told[name]]
    return told
