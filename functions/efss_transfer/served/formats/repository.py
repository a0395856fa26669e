"""Read the files of a record at Zenodo, an InvenioRDM or a Dataverse, by their public APIs."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from efss_transfer.served.checksums import Checksum
from efss_transfer.served.documents import Documents, Unlisted
from efss_transfer.served.formats import values
from efss_transfer.served.manifest import UrlFile

_RECORD: Final = re.compile(r"(?P<site>.*?)(?:/api)?/records?/(?P<id>[A-Za-z0-9.-]+)(?:/.*)?")
_DATASET: Final = re.compile(r"(?P<site>.*)/(?:dataset\.xhtml|citation)")
_DOI_HOSTS: Final = frozenset({"doi.org", "dx.doi.org", "www.doi.org"})


def is_page(url: str) -> bool:
    """Return whether a URL is that of a DOI, or of a record's page for people."""
    parts = urlsplit(url)
    return parts.hostname in _DOI_HOSTS or (
        not parts.path.startswith("/api/") and api_of(url) is not None
    )


def api_of(url: str) -> str | None:
    """Return the URL of a record in its repository's API; None for any other page."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    persistent = parse_qs(parts.query).get("persistentId")
    if persistent and "/api/" in parts.path:
        return url
    if persistent and (found := _DATASET.fullmatch(parts.path)):
        api = f"{origin}{found['site']}/api/datasets/:persistentId/"
        return f"{api}?persistentId={quote(persistent[0], safe=':/')}"
    if found := _RECORD.fullmatch(parts.path):
        return f"{origin}{found['site']}/api/records/{found['id']}"
    return None


async def locate(url: str, documents: Documents) -> str:
    """Return the URL of a record in the API, by its DOI or its page. Raises Unlisted."""
    is_doi = urlsplit(url).hostname in _DOI_HOSTS
    found = None if is_doi else api_of(url)
    if found is None:
        led = await documents.location(url)
        found = api_of(led)
    if found is None:
        raise Unlisted.because(
            "The address leads to no record of Zenodo, an InvenioRDM or a Dataverse."
        )
    return found


async def read(document: Any, url: str, documents: Documents) -> AsyncGenerator[UrlFile, None]:
    """Yield the files of a record in the API, which is at `url`. Raises Unlisted."""
    whole = values.members(document)
    version = _dataverse_version(whole)
    if version is not None:
        for file in _of_dataverse(version, url):
            yield file
        return
    created = values.time(whole.get("created"))
    listed = whole.get("entries", whole.get("files"))
    if isinstance(listed, dict):
        # InvenioRDM names the files in a document of its own.
        own = values.text(values.members(whole.get("links")).get("files"))
        listing = await documents.json(own or f"{url.rstrip('/')}/files")
        listed = values.members(listing).get("entries")
    if not isinstance(listed, list):
        raise Unlisted.because(
            "The list is none that this service knows: check its URL, or name its format."
        )
    for entry in listed:
        yield _of_invenio(values.members(entry), url, created)


def _of_invenio(entry: Mapping[str, Any], url: str, created: int | None) -> UrlFile:
    name = values.text(entry.get("key")) or values.text(entry.get("filename"))
    links = values.members(entry.get("links"))
    where = next(
        (it for key in ("content", "download", "self") if (it := values.text(links.get(key)))), None
    )
    if name is None or where is None:
        raise Unlisted.because("The record has a file without a name or a link.")
    length = values.size(entry.get("size", entry.get("filesize")))
    return UrlFile(
        name, (urljoin(url, where),), length, values.checksum(entry.get("checksum")), created
    )


def _dataverse_version(whole: Mapping[str, Any]) -> Mapping[str, Any] | None:
    data = values.members(whole.get("data"))
    version = values.members(data.get("latestVersion")) or data
    return version if isinstance(version.get("files"), list) else None


def _of_dataverse(version: Mapping[str, Any], url: str) -> Iterator[UrlFile]:
    released = values.time(version.get("releaseTime"))
    api = url[: url.index("/api/") + len("/api/")] if "/api/" in url else urljoin(url, "/api/")
    for entry in map(values.members, version["files"]):
        file = values.members(entry.get("dataFile"))
        number, label = values.size(file.get("id")), values.text(file.get("filename"))
        if number is None or label is None:
            raise Unlisted.because("The dataset has a file without a name or an id.")
        where, length = f"{api}access/datafile/{number}", values.size(file.get("filesize"))
        original = values.text(file.get("originalFileName"))
        if original is not None:
            # A table, which Dataverse keeps in another form as well: the checksum is that of the
            # file as it was uploaded.
            label, where = original, f"{where}?format=original"
            length = values.size(file.get("originalFileSize"))
        folder = values.text(entry.get("directoryLabel"))
        yield UrlFile(
            f"{folder}/{label}" if folder else label, (where,), length, _checksum(file), released
        )


def _checksum(file: Mapping[str, Any]) -> Checksum | None:
    told = values.members(file.get("checksum"))
    kind, value = values.text(told.get("type")), values.text(told.get("value"))
    found = Checksum.of(kind, value) if kind and value else None
    return found or values.checksum(file.get("md5"))
