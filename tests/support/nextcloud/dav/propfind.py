"""PROPFIND: properties of files and folders as a multistatus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Final
from urllib.parse import quote
from xml.parsers import expat
from xml.sax.saxutils import escape

from support.nextcloud.cloud import shown_id
from support.nextcloud.dav.spaces import Space, permissions
from support.nextcloud.errors import bad_request, not_allowed
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Folder, Node, media_type, path_of

DAV: Final = "DAV:"
OC: Final = "http://owncloud.org/ns"
_PREFIXES: Final = {DAV: "d", OC: "oc", "http://nextcloud.org/ns": "nc"}
_UNLIMITED: Final = -3
HEAD: Final = (
    '<?xml version="1.0"?>\n<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" '
    'xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns">'
)
Property = Callable[[Space, Node], str | None]


def _quota(space: Space, node: Node) -> str | None:
    if isinstance(node, File):
        return None
    free = space.user.free()
    return str(_UNLIMITED if free is None else free)


def _checksums(_: Space, node: Node) -> str | None:
    if isinstance(node, Folder) or not node.checksum:
        return None
    return f"<oc:checksum>{escape(node.checksum)}</oc:checksum>"


def _of_file(value: Callable[[File], str]) -> Property:
    return lambda _, node: value(node) if isinstance(node, File) else None


def _of_folder(value: Callable[[Folder], str]) -> Property:
    return lambda _, node: value(node) if isinstance(node, Folder) else None


def _created(_: Space, node: Node) -> str:
    at = node.created if isinstance(node, File) else 0
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at))


PROPERTIES: Final[dict[tuple[str, str], Property]] = {
    (DAV, "displayname"): lambda space, node: escape(node.name or space.user.name),
    (DAV, "getlastmodified"): lambda _, node: formatdate(node.mtime, usegmt=True),
    (DAV, "getcontentlength"): _of_file(lambda file: str(file.size)),
    (DAV, "resourcetype"): lambda _, node: "" if isinstance(node, File) else "<d:collection/>",
    (DAV, "getetag"): lambda _, node: f"&quot;{node.etag}&quot;",
    (DAV, "getcontenttype"): _of_file(lambda file: media_type(file.name)),
    (DAV, "quota-available-bytes"): _quota,
    (DAV, "quota-used-bytes"): _of_folder(lambda folder: str(folder.size)),
    (DAV, "creationdate"): _created,
    (OC, "checksums"): _checksums,
    (OC, "permissions"): permissions,
    (OC, "fileid"): lambda _, node: str(node.fileid),
    (OC, "id"): lambda _, node: shown_id(node),
    (OC, "size"): lambda _, node: str(node.size),
}
_COMMON: Final = [
    (DAV, name)
    for name in (
        "getlastmodified",
        "getcontentlength",
        "resourcetype",
        "quota-used-bytes",
        "quota-available-bytes",
        "getetag",
        "getcontenttype",
    )
]
"""Properties that a PROPFIND without a body returns."""


def wanted(body: bytes) -> list[tuple[str, str]] | None:
    """The properties that a body asks for; None for the common ones."""
    if not body.strip():
        return None
    names: list[tuple[str, str]] = []
    above: list[str] = []

    def start(name: str, _: object) -> None:
        if above[-1:] == [f"{DAV} prop"]:
            namespace, _, local = name.rpartition(" ")
            names.append((namespace, local))
        above.append(name)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: above.pop()
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise bad_request(f"The body is no XML: {error}") from None
    return names or None


def href(path: str) -> str:
    """A path as Nextcloud writes it: escapes in lower case."""
    head, *escaped = quote(path, safe="/()~@:-_.").split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in escaped)


def response(
    space: Space, node: Node, at: str, names: list[tuple[str, str]] | None, minimal: bool
) -> str:
    """Build one entry: its known properties, and the missing ones."""
    known, unknown = "", ""
    for namespace, local in names or _COMMON:
        prefix = _PREFIXES.get(namespace)
        tag = f"{prefix}:{local}" if prefix else f"x:{local}"
        shown = tag if prefix else f'{tag} xmlns:x="{escape(namespace)}"'
        find = PROPERTIES.get((namespace, local))
        value = find(space, node) if find else None
        if value is None:
            unknown += f"<{shown}/>"
        else:
            known += f"<{shown}>{value}</{tag}>" if value else f"<{shown}/>"
    told = propstat(known, "200 OK") if known or not unknown else ""
    if unknown and names is not None and not minimal:
        told += propstat(unknown, "404 Not Found")
    return entry(at, told)


def entry(at: str, propstats: str) -> str:
    """A response of a multistatus."""
    return f"<d:response><d:href>{href(at)}</d:href>{propstats}</d:response>"


def propstat(properties: str, status: str) -> str:
    return (
        f"<d:propstat><d:prop>{properties}</d:prop>"
        f"<d:status>HTTP/1.1 {status}</d:status></d:propstat>"
    )


def _entries(node: Node, depth: float) -> Iterator[Node]:
    yield node
    if isinstance(node, Folder) and depth > 0:
        for name in sorted(node.children):
            yield from _entries(node.children[name], depth - 1)


def is_minimal(exchange: Exchange) -> bool:
    """Test whether the client asked to omit missing properties."""
    return exchange.header("Brief") == "t" or "return=minimal" in (exchange.header("Prefer") or "")


def propfind(exchange: Exchange, space: Space, path: str) -> None:
    """List a path: itself, its children, or the whole tree."""
    if not space.readable:
        raise not_allowed("Only PUT is allowed on files drop")
    body = exchange.body()
    cloud = exchange.cloud
    depth = {"0": 0.0, "1": 1.0, "infinity": float("inf")}.get(exchange.header("Depth") or "1", 1)
    with cloud.guard:
        node = space.get(path)
        names, minimal = wanted(body), is_minimal(exchange)
        root = path_of(space.root)
        found = []
        for one in _entries(node, depth):
            at = space.href.rstrip("/") + path_of(one).removeprefix(root)
            slash = "/" if isinstance(one, Folder) or at + "/" == space.href else ""
            found.append(response(space, one, at + slash, names, minimal))
    if depth > 1:
        found = cloud.on_tree(found)
    exchange.spend()
    cloud.spend(cloud.cost.entry * len(found))
    multistatus(exchange, found)


def multistatus(exchange: Exchange, found: list[str]) -> None:
    """Answer with these entries."""
    exchange.reply(
        207,
        (HEAD + "".join(found) + "</d:multistatus>\n").encode(),
        ("Vary", "Brief,Prefer"),
        ("DAV", "1, 3, extended-mkcol, nc-paginate, nextcloud-checksum-update"),
        kind="application/xml; charset=utf-8",
    )
