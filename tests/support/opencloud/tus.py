"""Uploads by tus: OPTIONS and POST at a folder; HEAD, PATCH and DELETE at an upload's address.

As seen at OpenCloud: the address is signed and needs no credential. What arrived of a PATCH that is
cut off stays. `Upload-Checksum` and `If-None-Match` are ignored; `If-Match` holds when an upload
begins, and not at its end. DELETE ends an upload; OPTIONS names that at its address, and at a
folder it does not. From the source of REVA 2: DELETE of an upload in post-processing takes the file
back.
"""

from __future__ import annotations

import base64
import secrets
import time

from support.opencloud import dav
from support.opencloud.cloud import OpenCloud, User
from support.opencloud.errors import Refusal, check_name
from support.opencloud.places import Exchange, Place
from support.opencloud.tree import File, Folder, Sums
from support.opencloud.tus_sessions import TusSession

_EXTENSIONS = "creation,creation-with-upload,checksum,expiration"
_OF_AN_UPLOAD = "creation,creation-with-upload,termination,concatenation,creation-defer-length"
_RESUMABLE = ("Tus-Resumable", "1.0.0")
_TYPE = "application/offset+octet-stream"


def capability(cloud: OpenCloud) -> dict[str, object]:
    """What the capabilities say of tus."""
    return {
        "version": "1.0.0",
        "resumable": "1.0.0",
        "extension": "creation,creation-with-upload",
        "max_chunk_size": cloud.tus.max_chunk,
        "http_method_override": "",
    }


def options(exchange: Exchange) -> None:
    """Say what is offered, to anybody."""
    headers = [("DAV", "1, 2")]
    if exchange.cloud.tus.is_on:
        headers += [
            _RESUMABLE,
            ("Tus-Version", "1.0.0"),
            ("Tus-Extension", _EXTENSIONS),
            ("Tus-Checksum-Algorithm", "md5,sha1,crc32"),
        ]
    exchange.reply(204, b"", *headers)


def _metadata(exchange: Exchange) -> dict[str, str]:
    found = {}
    for one in (exchange.header("Upload-Metadata") or "").split(","):
        name, _, value = one.strip().partition(" ")
        found[name] = base64.b64decode(value).decode()
    return found


def create(exchange: Exchange, folder: Place, user: User) -> None:
    """Begin an upload."""
    cloud = exchange.cloud
    if not cloud.tus.is_on:
        raise Refusal(501)
    length = exchange.header("Upload-Length")
    if exchange.header("Tus-Resumable") != "1.0.0" or not length:
        raise Refusal(412, "", _RESUMABLE)
    metadata = _metadata(exchange)
    name = metadata.get("filename", "")
    try:
        check_name(name)
    except Refusal:
        raise Refusal(412, "", _RESUMABLE) from None
    place = Place(folder.space, folder.base, f"{folder.path.rstrip('/')}/{name}")
    exchange.spend()
    with cloud.guard:
        parent, there = place.above()[0], place.find()
        if isinstance(there, Folder):
            raise Refusal(409)
        match = exchange.header("If-Match")
        if there is not None and match is not None and match != f'"{there.etag}"':
            raise Refusal(412, "", _RESUMABLE)
        if not isinstance(parent, Folder):
            raise Refusal(412, "", _RESUMABLE)
        dav.check_quota(place, there, int(length))
        token = f"{secrets.token_urlsafe(40)}.{secrets.token_urlsafe(60)}"
        content = cloud.blank()
        content.touch()
        expires = time.time() + cloud.tus.seconds
        made = (token, place, parent, name, there, int(length), metadata.get("mtime"), content)
        cloud.uploads[token] = TusSession(*made, expires)
        cloud.upload_tokens[token] = expires
    address = f"{cloud.tus.origin or cloud.url}/data/{token}"
    exchange.reply(201, b"", _RESUMABLE, ("Tus-Extension", _EXTENSIONS), ("Location", address))


def serve(exchange: Exchange, token: str) -> None:
    """Answer at the address of an upload."""
    cloud = exchange.cloud
    cloud.settle()
    session = cloud.uploads.get(token)
    expires = cloud.upload_tokens.get(token)
    if expires is None or time.time() >= expires:
        raise Refusal(403)
    if session is None:
        raise Refusal(404, "", _RESUMABLE)
    if exchange.method == "HEAD":
        told = ("Upload-Offset", str(session.offset)), ("Upload-Length", str(session.size))
        kind = "text/plain; charset=utf-8"
        size = session.size
        exchange.reply_file(200, session.content, 0, size, _RESUMABLE, *told, kind=kind)
    elif exchange.method == "OPTIONS":
        own = ("Tus-Extension", _OF_AN_UPLOAD)
        exchange.reply(200, b"", _RESUMABLE, ("Tus-Version", "1.0.0"), own)
    elif exchange.header("Tus-Resumable") != "1.0.0":
        raise Refusal(412, "", _RESUMABLE)
    elif exchange.method == "PATCH":
        _append(exchange, session)
    elif exchange.method == "DELETE":
        _end(exchange, session)
    else:
        raise Refusal(501)


def _append(exchange: Exchange, session: TusSession) -> None:
    cloud, expires = exchange.cloud, ("Upload-Expires", str(int(session.expires)))
    if exchange.header("Content-Type") != _TYPE:
        raise Refusal(400)
    if exchange.header("Upload-Offset") != str(session.offset):
        raise Refusal(409, "", _RESUMABLE, expires)
    if session.offset + (exchange.length or 0) > session.size:
        raise Refusal(413, "", _RESUMABLE, expires)
    with session.content.open("ab", buffering=0) as content:
        for piece in exchange.pieces():
            content.write(bytes(len(piece)) if "bytes" in cloud.tus.lies else piece)
    exchange.spend("PUT")
    if session.offset == session.size:
        _finish(exchange, session)
    told = session.offset - ("offset" in cloud.tus.lies)
    exchange.reply(204, b"", _RESUMABLE, ("Upload-Offset", str(told)), expires)


def _finish(exchange: Exchange, session: TusSession) -> None:
    """Make a file of it."""
    cloud = exchange.cloud
    sums = Sums()
    with session.content.open("rb") as content:
        while piece := content.read(1 << 20):
            sums.update(piece)
    with cloud.guard:
        if "lost" in cloud.tus.lies:
            del cloud.uploads[session.token]
            session.file = File(session.name, session.parent, session.content, 0, 0, None)
            return
        appeared = session.parent.children.get(session.name)
        if session.there is None and appeared is not None:
            raise Refusal(409, "", _RESUMABLE, ("Upload-Expires", str(int(session.expires))))
        file, _ = dav.stored(exchange, session.parent, session.name, session.there, session.mtime)
        file.content.unlink(missing_ok=True)
        file.content, file.size, file.sums = session.content, sums.size, sums.all()
        file.ready = time.monotonic() + cloud.processing_seconds
        session.file = file
        cloud.uploaded.append(file)
        if not cloud.processing_seconds:
            del cloud.uploads[session.token]


def _end(exchange: Exchange, session: TusSession) -> None:
    cloud = exchange.cloud
    if not cloud.tus.terminates:
        raise Refusal(501, "", _RESUMABLE)
    with cloud.guard:
        del cloud.uploads[session.token]
        if session.file is not None:
            session.file.parent.remove(session.file.name)
        session.content.unlink(missing_ok=True)
    exchange.reply(204, b"", _RESUMABLE)
