"""PROPFIND and PROPPATCH."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Final
from urllib.parse import quote
from xml.parsers import expat
from xml.sax.saxutils import escape

from support.opencloud.cloud import Space
from support.opencloud.errors import Refusal
from support.opencloud.places import Exchange, Place, is_processing, shown_id
from support.opencloud.tree import File, Folder, Node

DAV: Final = "DAV:"
OC: Final = "http://owncloud.org/ns"
_PREFIXES: Final = {DAV: "d", OC: "oc"}
_UNLIMITED: Final = -2
_XML: Final = "application/xml; charset=utf-8"
Property = Callable[[Space, Node], str | None]


def _of_file(value: Callable[[File], str | None]) -> Property:
    return lambda _, node: value(node) if isinstance(node, File) else None


def _checksums(file: File) -> str | None:
    return f"<oc:checksum>{' '.join(file.sums)}</oc:checksum>" if file.sums else None


def _available(space: Space, node: Node) -> str | None:
    """All that the space may hold: what is used is not deducted."""
    if isinstance(node, File):
        return None
    return str(_UNLIMITED if space.quota is None else space.quota)


_PROPERTIES: Final[dict[tuple[str, str], Property]] = {
    (DAV, "getlastmodified"): lambda _, node: formatdate(int(node.mtime), usegmt=True),
    (DAV, "getcontentlength"): _of_file(lambda file: str(file.size)),
    (DAV, "getcontenttype"): _of_file(lambda _: "application/octet-stream"),
    (DAV, "resourcetype"): lambda _, node: "" if isinstance(node, File) else "<d:collection/>",
    (DAV, "getetag"): lambda _, node: f'"{node.etag}"',
    (DAV, "quota-available-bytes"): _available,
    (DAV, "quota-used-bytes"): lambda _, node: str(node.size) if isinstance(node, Folder) else None,
    (OC, "checksums"): _of_file(_checksums),
    (OC, "permissions"): lambda _, node: "RDNVWZP" if isinstance(node, File) else "RDNVCKZP",
    (OC, "id"): lambda space, node: shown_id(space, node),
    (OC, "fileid"): lambda space, node: shown_id(space, node),
    (OC, "size"): lambda _, node: str(node.size),
}
_ALL: Final = [name for name in _PROPERTIES if not name[1].startswith("quota-")]


def _wanted(body: bytes) -> list[tuple[str, str]]:
    """The properties that a body asks for; without a body, most."""
    found: list[tuple[str, str]] = []
    above: list[str] = []

    def start(name: str, _: object) -> None:
        if above[-1:] == [f"{DAV} prop"]:
            namespace, _, local = name.rpartition(" ")
            found.append((namespace, local))
        above.append(name)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: above.pop()
    if body.strip():
        parser.Parse(body, True)
    return found or _ALL


def _propstat(properties: str, status: str) -> str:
    return (
        f"<d:propstat><d:prop>{properties}</d:prop>"
        f"<d:status>HTTP/1.1 {status}</d:status></d:propstat>"
    )


def _response(place: Place, node: Node, wanted: list[tuple[str, str]]) -> str:
    known = missing = ""
    for namespace, local in wanted:
        tag = f"{_PREFIXES.get(namespace, 'x')}:{local}"
        find = _PROPERTIES.get((namespace, local))
        value = find(place.space, node) if find else None
        if value is None:
            missing += f"<{tag}></{tag}>"
        else:
            known += f"<{tag}>{value}</{tag}>"
    if is_processing(node):
        told = _propstat(known, "425 TOO EARLY")
    else:
        told = _propstat(known, "200 OK") if known else ""
        told += _propstat(missing, "404 Not Found") if missing else ""
    href = escape(quote(place.href(node), safe="/$!&'()*+,;=:@-._~"))
    return f"<d:response><d:href>{href}</d:href>{told}</d:response>"


def propfind(exchange: Exchange, place: Place) -> None:
    """List a path: itself, or its children too."""
    wanted = _wanted(exchange.body())
    depth = exchange.header("Depth") or "1"
    if depth not in ("0", "1"):
        raise Refusal(400, f"Invalid Depth header value: {depth}")
    exchange.spend()
    with exchange.cloud.guard:
        node = place.get()
        found = [node]
        if depth == "1" and isinstance(node, Folder):
            found += node.children.values()
        told = "".join(_response(place, one, wanted) for one in found)
    exchange.cloud.spend(exchange.cloud.cost.entry * len(found))
    _multistatus(exchange, told)


def proppatch(exchange: Exchange, place: Place) -> None:
    """Accept a property, as free text: a time stays as it was."""
    node = place.get()
    above: list[str] = []
    found: list[str] = []

    def start(name: str, _: object) -> None:
        if above[-1:] == [f"{DAV} prop"]:
            found.append(name.rpartition(" ")[2])
        above.append(name)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: above.pop()
    parser.Parse(exchange.body(), True)
    properties = "".join(f'<{name} xmlns="DAV:"></{name}>' for name in found)
    told = _propstat(properties, "200 OK")
    _multistatus(
        exchange, f"<d:response><d:href>{quote(place.href(node))}</d:href>{told}</d:response>"
    )


def _multistatus(exchange: Exchange, told: str) -> None:
    opening = (
        '<d:multistatus xmlns:s="http://sabredav.org/ns" xmlns:d="DAV:" '
        'xmlns:oc="http://owncloud.org/ns">'
    )
    headers = (("DAV", "1, 3, extended-mkcol"), ("Tus-Resumable", "1.0.0"))
    exchange.reply(207, (opening + told + "</d:multistatus>").encode(), *headers, kind=_XML)
