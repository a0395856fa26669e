"""Chunked uploads: a session's folder, its chunks, and the MOVE that puts them together.

Version 2 differs by a Destination with each request; on storage that is no object store both
are kept alike, so one serves both: `parts` has what differs in an object store. A session that any
refusal met stays as it was.
"""

from __future__ import annotations

import re
import time
from urllib.parse import unquote, urlsplit

from support.nextcloud import errors
from support.nextcloud.cloud import Upload, User
from support.nextcloud.dav import parts as in_parts
from support.nextcloud.dav import preconditions
from support.nextcloud.dav.files import stored_headers
from support.nextcloud.dav.propfind import is_minimal, multistatus, response, wanted
from support.nextcloud.dav.spaces import Space, check_name
from support.nextcloud.dav.writing import arriving, check_quota, mtime_of, store
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Folder, Node, parts, unique_etag
from support.stand_in.exchange import from_files

TARGET = ".file"


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts 9 before 10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def serve(exchange: Exchange, user: User, files: Space, path: str) -> None:
    """Answer a request below an account's uploads."""
    names = parts(path)
    if exchange.method == "PROPFIND":
        _propfind(exchange, user, files, names)
    elif exchange.method == "MKCOL":
        _begin(exchange, user, files, names)
    elif exchange.method == "PUT":
        _put(exchange, user, files, names)
    elif exchange.method == "MOVE":
        _finish(exchange, user, files, names)
    elif exchange.method == "DELETE":
        _delete(exchange, user, names)
    elif exchange.method == "GET":
        _get(exchange, user, names)
    else:
        raise errors.not_implemented(exchange.method)


def _session(user: User, names: list[str]) -> Upload:
    found = user.uploads.get(names[0]) if names else None
    if found is None:
        raise errors.not_found("/" + "/".join(names))
    return found


def _begin(exchange: Exchange, user: User, files: Space, names: list[str]) -> None:
    exchange.spend()
    with exchange.cloud.guard:
        if len(names) != 1:
            raise errors.conflict("Parent node does not exist")
        if names[0] in user.uploads:
            raise errors.not_allowed("Something is there already")
        upload = user.uploads[names[0]] = Upload(int(time.time()))
        if exchange.cloud.object_store and exchange.header("Destination"):
            in_parts.begin(exchange, upload, files)
    exchange.reply(201)


def _put(exchange: Exchange, user: User, files: Space, names: list[str]) -> None:
    """Keep a chunk, once all of it is there."""
    upload = _session(user, names[:-1])
    name = names[-1]
    if exchange.header("Destination") and exchange.header("OC-Total-Length"):
        to = files.inside(preconditions.destination(exchange)) or ""
        check_quota(exchange, files, to.rpartition("/")[0], exchange.length or 0)
    exchange.spend()
    blank = user.tree.blank()
    try:
        with blank.open("wb") as content:
            for piece in arriving(exchange):
                content.write(piece)
    except BaseException:
        blank.unlink(missing_ok=True)
        raise
    given = mtime_of(exchange.header("X-OC-Mtime"))
    chunk = File(name, None, 0, blank, int(time.time()) if given is None else given)
    chunk.stored(chunk.mtime)
    with exchange.cloud.guard:
        if names[0] not in user.uploads:
            blank.unlink()
            raise errors.not_found("/" + names[0])
        if upload.parts is not None and exchange.header("Destination"):
            in_parts.put(upload, chunk)
            exchange.reply(200)
            return
        old = upload.chunks.get(name)
        upload.chunks[name] = chunk
    if old is None:
        exchange.reply(201)
        return
    old.content.unlink(missing_ok=True)
    exchange.reply(204, b"", ("ETag", f'"{chunk.etag}"'), ("OC-ETag", f'"{chunk.etag}"'))


def _finish(exchange: Exchange, user: User, files: Space, names: list[str]) -> None:
    """Put the chunks together under their name; an old file there keeps its id."""
    upload = _session(user, names[:-1])
    if names[-1] != TARGET:
        _rename(exchange, upload, names)
        return
    pseudo = Folder(TARGET, None, 0, upload.created, unique_etag())
    preconditions.check(exchange, files, pseudo)
    to = files.inside(preconditions.destination(exchange))
    if to is None:
        raise errors.forbidden("The destination is outside these files")
    parent, name = files.parent(to, errors.conflict("The destination node is not found"))
    there = parent.children.get(name)
    preconditions.check_overwrite(exchange, there)
    check_name(name)
    with exchange.cloud.guard:
        chunks = [upload.chunks[one] for one in sorted(upload.chunks, key=natural)]
        if upload.parts is not None:
            chunks = in_parts.whole(upload, there)
    size = sum(chunk.size for chunk in chunks)
    expected = None if upload.parts is not None else exchange.header("OC-Total-Length")
    if expected is not None and int(expected) != size:
        raise errors.bad_request(f"The chunks make {size} bytes and not {expected}")
    check_quota(exchange, files, to.rpartition("/")[0], size)
    contents = [chunk.content for chunk in chunks]
    checksum = (exchange.header("OC-Checksum") or "").strip()
    if upload.parts is not None:
        checksum = upload.onto.checksum if upload.onto is not None else ""
    file, new = store(
        exchange, files, to, from_files(contents), exchange.header("X-OC-Mtime"), checksum
    )
    _forget(exchange, user, names[0])
    exchange.reply(201 if new else 204, b"", *stored_headers(exchange, files, file))


def _rename(exchange: Exchange, upload: Upload, names: list[str]) -> None:
    """Give a chunk another name in its folder."""
    exchange.spend()
    to = parts(unquote(urlsplit(exchange.header("Destination") or "").path))
    if to[-2:-1] != names[:1]:
        raise errors.forbidden("A chunk stays in its folder")
    with exchange.cloud.guard:
        chunk = upload.chunks.pop(names[-1], None)
        if chunk is None:
            raise errors.not_found("/" + "/".join(names))
        chunk.name = to[-1]
        upload.chunks[chunk.name] = chunk
    exchange.reply(201)


def _forget(exchange: Exchange, user: User, session: str) -> None:
    with exchange.cloud.guard:
        upload = user.uploads.pop(session, None)
    stored = [*upload.chunks.values(), *(upload.parts or {}).values()] if upload else []
    for chunk in stored:
        chunk.content.unlink(missing_ok=True)


def _delete(exchange: Exchange, user: User, names: list[str]) -> None:
    upload = _session(user, names)
    exchange.spend()
    if len(names) == 1 or names[1] == TARGET:
        if upload.parts is not None:
            in_parts.leave(upload)
            exchange.cloud.orphans += len(names) == 1 or not exchange.header("Destination")
        _forget(exchange, user, names[0])
    else:
        chunk = upload.chunks.pop(names[1], None)
        if chunk is None:
            raise errors.not_found("/" + "/".join(names))
        chunk.content.unlink(missing_ok=True)
    exchange.reply(204)


def _get(exchange: Exchange, user: User, names: list[str]) -> None:
    """Send a chunk back."""
    chunk = _session(user, names[:-1]).chunks.get(names[-1])
    if chunk is None:
        raise errors.not_found("/" + "/".join(names))
    kind = "application/octet-stream"
    exchange.reply_file(200, chunk.content, 0, chunk.size, kind=kind)


def _propfind(exchange: Exchange, user: User, files: Space, names: list[str]) -> None:
    """List sessions, or a session's chunks and the file that they would make."""
    asked = wanted(exchange.body())
    known = None if asked is None else [name for name in asked if name[0] == "DAV:"]
    found: list[tuple[str, Node]] = []
    at = exchange.path
    now = int(time.time())
    with exchange.cloud.guard:
        if not names:
            found.append((at + "/", Folder("", None, 0, now)))
            found += [
                (f"{at}/{name}/", Folder(name, None, 0, one.created))
                for name, one in sorted(user.uploads.items())
            ]
        else:
            upload = _session(user, names)
            size = sum(chunk.size for chunk in upload.chunks.values())
            found.append((at + "/", Folder(names[0], None, 0, upload.created)))
            whole = File(TARGET, None, 0, user.tree.blank(), now, unique_etag(), size)
            found.append((f"{at}/{TARGET}", whole))
            found += [(f"{at}/{name}", chunk) for name, chunk in sorted(upload.chunks.items())]
            found += in_parts.listed(upload, at)
    if exchange.header("Depth") == "0":
        del found[1:]
    minimal = is_minimal(exchange)
    multistatus(exchange, [response(files, node, href, known, minimal) for href, node in found])
