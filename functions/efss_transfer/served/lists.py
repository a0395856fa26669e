"""Read the list of a tree: from the request, or from a URL in one of the published forms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.documents import Documents, Unlisted
from efss_transfer.served.formats import bagit, repository, ro_crate, tsv
from efss_transfer.served.manifest import ListTooLarge, Manifest, UrlFile
from efss_transfer.served.names import PathRefused
from efss_transfer.webdav.words import Record, RequestFailure, Words

_NAME_REFUSED: Final = 414
_BETWEEN_TURNS: Final = 1 << 10


@dataclass(frozen=True)
class ListSource:
    """Where a list is: files in the request, or the URL of a document in a format."""

    files: Sequence[Mapping[str, Any]] = ()
    manifest: str | None = None
    format: str | None = None


async def load(
    source: ListSource, documents: Documents, record: Record, most_bytes: int
) -> Manifest:
    """Return the files of a list. A file whose path is refused is recorded. Raises Unlisted."""
    manifest = Manifest(most_bytes)
    try:
        async with aclosing(_files(source, documents)) as reading:
            number = 0
            async for listed in reading:
                _add(manifest, listed, record)
                number += 1
                if not number % _BETWEEN_TURNS:
                    await asyncio.sleep(0)
    except ListTooLarge:
        manifest.close()
        raise Unlisted.because(
            f"The list does not fit into the {most_bytes:,} B of memory that it may use: divide it."
        ) from None
    except BaseException:
        manifest.close()
        raise
    return manifest


def _add(manifest: Manifest, listed: UrlFile, record: Record) -> None:
    try:
        manifest.add(listed)
    except PathRefused as error:
        shown = listed.path.encode("utf-8", "replace").decode("utf-8")
        said = Words(None, "", str(error))
        record.fail_entry(RequestFailure("PROPFIND", shown, said, None, _NAME_REFUSED))


async def _files(source: ListSource, documents: Documents) -> AsyncGenerator[UrlFile, None]:
    if source.manifest is None:
        for file in source.files:
            yield _inline(file)
        return
    url = source.manifest
    kind = source.format or _kind_of(url)
    if kind == "bagit":
        reading = bagit.read(url, documents)
    elif kind == "tsv" or (kind is None and await documents.first_line(url) == tsv.FIRST_LINE):
        reading = tsv.read(documents.lines(url))
    else:
        reading = _of_json(url, kind, documents)
    async with aclosing(reading):
        async for listed in reading:
            yield listed


def _kind_of(url: str) -> str | None:
    if bagit.is_bag(url):
        return "bagit"
    return "doi" if repository.is_page(url) else None


async def _of_json(
    url: str, kind: str | None, documents: Documents
) -> AsyncGenerator[UrlFile, None]:
    if kind == "doi":
        url = await repository.locate(url, documents)
    document = await documents.json(url)
    if kind == "ro-crate" or (isinstance(document, dict) and "@graph" in document):
        for file in ro_crate.read(document, url):
            yield file
        return
    async with aclosing(repository.read(document, url, documents)) as reading:
        async for file in reading:
            yield file


def _inline(file: Mapping[str, Any]) -> UrlFile:
    text = file.get("checksum")
    return UrlFile(
        file["path"],
        (file["url"], *file.get("mirrors", ())),
        file.get("size"),
        None if text is None else Checksum.parse(text),
    )
