"""Read the files of an RO-Crate from its ro-crate-metadata.json (RO-Crate 1.1 and 1.2)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from efss_transfer.served.documents import Unlisted
from efss_transfer.served.formats import values
from efss_transfer.served.manifest import UrlFile

METADATA: Final = "ro-crate-metadata.json"
_WEB: Final = ("http://", "https://")


def read(document: Any, url: str) -> Iterator[UrlFile]:
    """Yield the files of a crate, and its metadata, which is at `url`. Raises Unlisted."""
    graph = values.members(document).get("@graph")
    if not isinstance(graph, list):
        raise Unlisted.because("The list is no RO-Crate: it has no @graph.")
    entities = [one for one in graph if isinstance(one, dict)]
    published = next(
        (
            values.time(one.get("datePublished"))
            for one in entities
            if one.get("@id") == "./" or one.get("@id") == urljoin(url, ".")
        ),
        None,
    )
    yield UrlFile(METADATA, (url,), modified=published)
    for one in entities:
        if "File" in list(values.items(one.get("@type"))):
            found = _file(one, url, published)
            if found is not None and found.path != METADATA:
                yield found


def _file(entity: Mapping[str, Any], url: str, published: int | None) -> UrlFile | None:
    name = values.text(entity.get("@id"))
    if name is None or name.startswith("#"):
        return None
    own = values.time(entity.get("dateModified"))
    # Where a crate's metadata is published without its files, contentUrl says where they are.
    urls = [it for it in map(_url, values.items(entity.get("contentUrl"))) if it]
    urls.append(urljoin(url, name))
    return UrlFile(
        _path(entity, name),
        tuple(dict.fromkeys(urls)),
        values.size(entity.get("contentSize")),
        values.strongest(entity),
        published if own is None else own,
    )


def _url(value: Any) -> str | None:
    """Return a URL, which may stand in an object of its own."""
    written = values.text(values.members(value).get("@id")) or values.text(value)
    return written if written and written.startswith(_WEB) else None


def _path(entity: Mapping[str, Any], name: str) -> str:
    if not name.startswith(_WEB):
        return unquote(name)
    # A file on the web has a path in the crate only if it says so (RO-Crate 1.2).
    local = values.text(entity.get("localPath"))
    return local or posixpath.basename(unquote(urlsplit(name).path)) or name
