"""Read the files of a BagIt bag (RFC 8493): its payload, also from fetch.txt, and its tags."""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from efss_transfer.served.checksums import SIZES, Checksum
from efss_transfer.served.documents import Documents, Unlisted
from efss_transfer.served.manifest import MovedFile, UrlFile

_FILES: Final = re.compile(r"bagit\.txt|fetch\.txt|(?:tag)?manifest-\w+\.txt")
_LINE: Final = re.compile(r"([0-9A-Fa-f]+)[ \t]+\*?(\S.*)")
_FETCHED: Final = re.compile(r"(\S+)[ \t]+(\d{1,18}|-)[ \t]+(\S.*)")
_ESCAPED: Final = re.compile("%(0A|0D|25)", re.IGNORECASE)


def is_bag(url: str) -> bool:
    """Return whether a URL is that of one of a bag's own files."""
    return _FILES.fullmatch(posixpath.basename(urlsplit(url).path)) is not None


async def read(url: str, documents: Documents) -> AsyncGenerator[UrlFile, None]:
    """Yield the files of a bag: those that fetch.txt names once more, at another URL.

    `url` is that of the bag's folder, or of one of its own files. Raises Unlisted.
    """
    base = urljoin(url, ".")
    kind = await _kind(base, documents)
    tags = {"bagit.txt", f"manifest-{kind}.txt"}
    async with aclosing(_listed(f"manifest-{kind}.txt", kind, base, documents)) as reading:
        async for file in reading:
            yield file
    async with aclosing(_fetched(f"{base}fetch.txt", documents)) as reading:
        async for file in reading:
            yield file
    async with aclosing(_tags(f"tagmanifest-{kind}.txt", kind, base, documents)) as reading:
        async for file in reading:
            tags.discard(file.path)
            yield file
    for name in sorted(tags):
        yield UrlFile(name, (f"{base}{name}",))


async def _kind(base: str, documents: Documents) -> str:
    """Return the strongest kind of checksum that the bag has a manifest of."""
    for kind in reversed(SIZES):
        if await documents.exists(f"{base}manifest-{kind}.txt"):
            return kind
    raise Unlisted.because(
        "The bag has no manifest of a known kind (sha512, sha256, sha1, md5): check its URL."
    )


async def _listed(
    name: str, kind: str, base: str, documents: Documents
) -> AsyncGenerator[UrlFile, None]:
    async for line in documents.lines(f"{base}{name}"):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        checksum = Checksum.of(kind, found[1]) if found else None
        if found is None or checksum is None:
            raise Unlisted.because(f"A line of {name} is not a checksum and a path.")
        path = _unescaped(found[2])
        yield UrlFile(path, (f"{base}{quote(path)}",), None, checksum)


async def _tags(
    name: str, kind: str, base: str, documents: Documents
) -> AsyncGenerator[UrlFile, None]:
    if await documents.exists(f"{base}{name}"):
        async for file in _listed(name, kind, base, documents):
            yield file
        yield UrlFile(name, (f"{base}{name}",))


async def _fetched(url: str, documents: Documents) -> AsyncGenerator[UrlFile, None]:
    if not await documents.exists(url):
        return
    async for line in documents.lines(url):
        if not line.strip():
            continue
        found = _FETCHED.fullmatch(line)
        if found is None:
            raise Unlisted.because("A line of fetch.txt is not a URL, a size and a path.")
        size = None if found[2] == "-" else int(found[2])
        yield MovedFile(_unescaped(found[3]), (found[1],), size)


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), path)
