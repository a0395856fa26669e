"""The other methods: GET, HEAD, PUT, MKCOL, DELETE, MOVE, COPY."""

from __future__ import annotations

import re
import shutil
import time
from email.utils import formatdate

from support.opencloud.cloud import User
from support.opencloud.errors import Refusal, check_name, not_found
from support.opencloud.places import Exchange, Place, destination, is_processing, shown_id
from support.opencloud.tree import File, Folder, Node, Sums

_WRONG_SUM = "The computed checksum does not match the one received from the client."
_ALGORITHMS = ("SHA1", "MD5", "ADLER32")


def get(exchange: Exchange, place: Place, _: User) -> None:
    """Send a file, or a range of it; a folder is nothing. Conditions are ignored."""
    node = place.find()
    if node is None:
        raise Refusal(404)
    if isinstance(node, Folder):
        exchange.reply(200)
        return
    if node.is_processing:
        raise Refusal(425)
    exchange.spend()
    first, size, status = 0, node.size, 200
    headers = [
        ("Accept-Ranges", "bytes"),
        ("Last-Modified", formatdate(int(node.mtime), usegmt=True)),
        *_tags(place, node),
    ]
    if node.sums:
        headers.append(("OC-Checksum", node.sums[0]))
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.header("Range") or "")
    if wanted is not None:
        first = int(wanted[1])
        last = min(int(wanted[2] or node.size), node.size - 1)
        if first >= node.size:
            raise Refusal(416, "", ("Content-Range", f"bytes */{node.size}"))
        headers.append(("Content-Range", f"bytes {first}-{last}/{node.size}"))
        size, status = last - first + 1, 206
    kind = "application/octet-stream"
    exchange.reply_file(status, node.content, first, size, *headers, kind=kind)


def _tags(place: Place, node: Node) -> list[tuple[str, str]]:
    etag = f'"{node.etag}"'
    return [("ETag", etag), ("OC-ETag", etag), ("OC-FileId", shown_id(place.space, node))]


def put(exchange: Exchange, place: Place, _: User) -> None:
    """Store a body, once it is whole and right."""
    cloud = exchange.cloud
    parent, name = place.above()
    check_name(name)
    if exchange.chunked or exchange.length is None:
        raise Refusal(400)
    there = place.find()
    if isinstance(there, Folder) or parent is None:
        raise Refusal(409)
    if isinstance(parent, File):
        raise Refusal(500)
    check_quota(place, there, exchange.length)
    match = exchange.header("If-Match")
    if match is not None and (there is None or match != f'"{there.etag}"'):
        raise Refusal(409)
    blank = cloud.blank()
    try:
        sums = Sums()
        with blank.open("wb") as content:
            for piece in exchange.pieces():
                sums.update(piece)
                content.write(piece)
        _check_sum(exchange, sums)
        exchange.spend()
        with cloud.guard:
            mtime = exchange.header("X-OC-Mtime")
            file, is_new = stored(exchange, parent, name, there, mtime)
            if file.content.exists():
                file.content.unlink()
            file.content, file.size = blank, sums.size
            file.sums = sums.all() if sums.size else None
            file.ready = time.monotonic() + cloud.processing_seconds if sums.size else 0
            cloud.uploaded.append(file)
    except BaseException:
        blank.unlink(missing_ok=True)
        raise
    headers = _tags(place, file)
    if exchange.header("X-OC-Mtime") is not None:
        headers.append(("X-OC-Mtime", "accepted"))
    exchange.reply(201 if is_new else 204, b"", *headers)


def stored(
    exchange: Exchange, parent: Folder, name: str, began_with: Node | None, given: str | None
) -> tuple[File, bool]:
    """The file with its new time, and whether it is new; its content is still the old one."""
    mtime = time.time()
    if given is not None:
        found = re.fullmatch(r"(-?\d+)(?:\.(\d{1,9}))?", given)
        # Microseconds, because no float has nanoseconds.
        mtime = int(found[1]) + int((found[2] or "0")[:6]) / 1e6 if found else 0
    there = parent.children.get(name)
    if there is None:
        file = File(name, parent, exchange.cloud.blank(), mtime, 0, None)
        parent.add(file)
        return file, True
    if began_with is None and exchange.cloud.refuses_races:
        raise Refusal(412)
    if isinstance(there, Folder):
        raise Refusal(409)
    if there.mtime in there.versions:
        raise Refusal(500, "", ("X-OC-Mtime", "accepted"))
    there.versions.add(there.mtime)
    there.mtime = mtime
    parent.mtime = time.time()
    return there, False


def check_quota(place: Place, there: Node | None, size: int) -> None:
    """Refuse what exceeds the quota; a file that is replaced makes room."""
    quota = place.space.quota
    if quota is None:
        return
    if place.space.root.size - (there.size if there else 0) + size > quota:
        raise Refusal(507)


def _check_sum(exchange: Exchange, sums: Sums) -> None:
    given = (exchange.header("OC-Checksum") or "").strip()
    if not given:
        return
    algorithm, _, claimed = given.partition(":")
    if algorithm.upper() not in _ALGORITHMS or " " in claimed:
        raise Refusal(400)
    if f"{algorithm.upper()}:{claimed.lower()}" not in sums.all():
        raise Refusal(400, _WRONG_SUM)


def mkcol(exchange: Exchange, place: Place, _: User) -> None:
    """Make a folder."""
    exchange.body()
    parent, name = place.above()
    check_name(name)
    exchange.spend()
    with exchange.cloud.guard:
        if place.find() is not None:
            raise Refusal(405, "The resource you tried to create already exists")
        if parent is None:
            above = place.path.strip("/").rpartition("/")[0]
            raise Refusal(409, f"create container: error: precondition failed: {above}")
        if isinstance(parent, File):
            raise Refusal(500, f"internal error: create container: {name}: not a directory")
        parent.add(Folder(name, parent))
    exchange.reply(201)


def delete(exchange: Exchange, place: Place, _: User) -> None:
    """Remove what is there. If-Match is ignored."""
    exchange.spend()
    with exchange.cloud.guard:
        node = place.get()
        if is_processing(node):
            raise Refusal(425)
        if node.parent is not None:
            node.parent.remove(node.name)
    exchange.reply(204)


def _target(exchange: Exchange, user: User) -> tuple[Folder, str, Node | None, Place]:
    to = destination(exchange, user)
    parent, name = to.above()
    check_name(name)
    if not isinstance(parent, Folder):
        raise Refusal(409)
    return parent, name, to.find(), to


def _may_replace(exchange: Exchange) -> bool:
    return (exchange.header("Overwrite") or "T") != "F"


def move(exchange: Exchange, place: Place, user: User) -> None:
    """Rename. What was at the destination is replaced."""
    exchange.spend()
    with exchange.cloud.guard:
        node = place.find()
        if node is None or node.parent is None:
            raise not_found(f"Resource ./{place.path} not found")
        parent, name, there, to = _target(exchange, user)
        if there is not None and not _may_replace(exchange):
            raise Refusal(412)
        node.parent.remove(node.name)
        node.name = name
        parent.add(node)
    exchange.reply(201 if there is None else 204, b"", *_tags(to, node))


def copy(exchange: Exchange, place: Place, user: User) -> None:
    """Copy a file on the server; the copy has a new time."""
    exchange.spend()
    with exchange.cloud.guard:
        node = place.find()
        if node is None:
            raise not_found(f"Resource ./{place.path} not found")
        parent, name, there, to = _target(exchange, user)
        if there is not None and not _may_replace(exchange):
            raise Refusal(412, f"Could not overwrite Resource ./{to.path}")
        if is_processing(node):
            raise Refusal(500)
        _copied(exchange, node, parent, name)
    exchange.reply(201 if there is None else 204)


def _copied(exchange: Exchange, node: Node, parent: Folder, name: str) -> None:
    if isinstance(node, Folder):
        made = Folder(name, parent)
        parent.add(made)
        for child in list(node.children.values()):
            _copied(exchange, child, made, child.name)
        return
    content = exchange.cloud.blank()
    shutil.copyfile(node.content, content)
    parent.add(File(name, parent, content, time.time(), node.size, node.sums))
