"""Methods on one file: GET, HEAD, PUT, PATCH and PROPPATCH."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import ExitStack
from email.utils import formatdate
from urllib.parse import quote

from support.nextcloud import errors
from support.nextcloud.cloud import shown_id
from support.nextcloud.dav import preconditions
from support.nextcloud.dav.archive import send_archive, wants_archive
from support.nextcloud.dav.propfind import entry, multistatus, propstat
from support.nextcloud.dav.spaces import Space
from support.nextcloud.dav.writing import (
    arriving,
    check_place,
    check_quota,
    free_name,
    mtime_of,
    store,
)
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Folder, media_type


def get(exchange: Exchange, space: Space, path: str) -> None:
    """Send a file, a range of it, or a folder as a zip. Otherwise a folder is an empty page."""
    if not space.readable:
        raise errors.not_allowed("Only PUT is allowed on files drop")
    node = space.get(path)
    preconditions.check(exchange, space, node)
    exchange.spend()
    if isinstance(node, Folder):
        if wants_archive(exchange):
            send_archive(exchange, space, path, node)
        else:
            exchange.reply(200)
        return
    cloud = exchange.cloud
    with ExitStack() as lock:
        lock.enter_context(cloud.holding(space.key(path), exclusive=False, above=space.above(path)))
        if node.content.stat().st_size != node.size:
            with cloud.guard:
                node.stored(None)
        if f'"{node.etag}"' == exchange.header("If-None-Match"):
            lock.close()
            exchange.reply(304, b"", ("ETag", f'"{node.etag}"'))
            return
        _send(exchange, node, lock.close)


def _send(exchange: Exchange, file: File, read: Callable[[], None]) -> None:
    etag = f'"{file.etag}"'
    headers = [
        ("Last-Modified", formatdate(file.mtime, usegmt=True)),
        ("ETag", etag),
        ("OC-ETag", etag),
        ("Content-Disposition", f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"),
    ]
    if file.checksum:
        headers.append(("OC-Checksum", file.checksum))
    kind = media_type(file.name)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", exchange.header("Range") or "")
    if wanted is None or wanted[0] == "bytes=-" or exchange.header("If-Range") not in (None, etag):
        exchange.reply_file(200, file.content, 0, file.size, *headers, kind=kind, read=read)
        return
    if wanted[1]:
        first = int(wanted[1])
        last = min(int(wanted[2] or file.size), file.size - 1)
    else:
        first, last = max(0, file.size - int(wanted[2])), file.size - 1
    if first >= file.size:
        name = errors.SABRE + "RequestedRangeNotSatisfiable"
        raise errors.DavError(416, name, "It begins beyond the end", headers=(("ETag", etag),))
    headers.append(("Content-Range", f"bytes {first}-{last}/{file.size}"))
    size = last - first + 1
    exchange.reply_file(206, file.content, first, size, *headers, kind=kind, read=read)


def put(exchange: Exchange, space: Space, path: str) -> None:
    """Store a body under a name."""
    space.check_writable(path)
    if exchange.header("Content-Range") is not None:
        raise errors.bad_request("A part of a file cannot be put")
    there = space.find(path)
    if there is not None and not space.readable:
        path, there = free_name(space, path), None
    preconditions.check(exchange, space, there)
    if isinstance(there, Folder):
        raise errors.conflict("A folder is there")
    check_place(space, path)
    check_quota(exchange, space, path, exchange.length or 0)
    file, new = store(
        exchange,
        space,
        path,
        arriving(exchange),
        exchange.header("X-OC-Mtime"),
        (exchange.header("OC-Checksum") or "").strip(),
    )
    exchange.reply(201 if new else 204, b"", *stored_headers(exchange, space, file))


def stored_headers(exchange: Exchange, space: Space, file: File) -> list[tuple[str, str]]:
    """Headers that describe a file that was just stored."""
    headers = [("ETag", f'"{file.etag}"'), ("OC-ETag", f'"{file.etag}"')]
    if exchange.header("X-OC-Mtime") is not None:
        headers.append(("X-OC-MTime", "accepted"))
    created = exchange.header("X-OC-CTime")
    if created is not None:
        file.created = int(created)
        headers.append(("X-OC-CTime", "accepted"))
    if space.readable:
        headers.append(("OC-FileId", shown_id(file)))
    return headers


def patch(exchange: Exchange, space: Space, path: str) -> None:
    """Compute a hash of the stored bytes; it replaces the checksum that a client sent."""
    node = space.get(path)
    algorithm = (exchange.header("X-Recalculate-Hash") or "").lower()
    if isinstance(node, Folder):
        raise errors.not_allowed("A folder has no hash")
    if algorithm not in ("sha1", "md5", "sha256"):
        raise errors.DavError(500, "ValueError", "X-Recalculate-Hash names no algorithm")
    made = hashlib.new(algorithm, usedforsecurity=False)
    with node.content.open("rb") as content:
        while piece := content.read(1 << 20):
            made.update(piece)
    with exchange.cloud.guard:
        node.checksum = f"{algorithm.upper()}:{made.hexdigest()}"
    exchange.reply(204, b"", ("OC-Checksum", node.checksum))


_SET_TIME = re.compile(rb"lastmodified[^>]*>\s*(-?\d+)\s*<")


def proppatch(exchange: Exchange, space: Space, path: str) -> None:
    """Set a file's time, by the property `lastmodified`, which is not `getlastmodified`."""
    node = space.get(path)
    body = exchange.body()
    found = _SET_TIME.search(body)
    own = found is not None and b"getlastmodified" not in body
    if own and found is not None and isinstance(node, File):
        with exchange.cloud.guard:
            node.stored(mtime_of(found[1].decode()))
    name, status = ("lastmodified", "200 OK") if own else ("getlastmodified", "403 Forbidden")
    multistatus(exchange, [entry(exchange.path, propstat(f"<d:{name}/>", status))])
