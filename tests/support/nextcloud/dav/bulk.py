"""Many small files in one POST: multipart/related, one part a file, an answer in JSON by path."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from support.nextcloud.cloud import shown_id
from support.nextcloud.dav.spaces import Space, check_name, permissions
from support.nextcloud.dav.writing import mtime_of
from support.nextcloud.errors import DavError, bad_request
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import Folder, parts


@dataclass
class _Part:
    headers: dict[str, str]
    content: bytes


class _Broken(Exception):
    """A part that cannot be right: nothing after it is read."""


def serve(exchange: Exchange, space: Space) -> None:
    """Store each part. The parts before one that is broken are kept and answered."""
    boundary = re.search(r"boundary=\"?([^\";]+)", exchange.header("Content-Type") or "")
    if boundary is None:
        raise bad_request("Content-Type names no boundary")
    body = exchange.body()
    told: dict[str, Any] = {}
    status = 200
    at = 0
    marker = b"--" + boundary[1].encode()
    try:
        while not body.startswith(marker + b"--", at):
            part, at = _next(body, at, marker)
            if exchange.cloud.breaks(part.headers["x-file-path"]):
                raise _Broken
            exchange.cloud.spend(exchange.cloud.cost.bulk_file)
            told[part.headers["x-file-path"]] = _store(exchange, space, part)
    except _Broken:
        status = 400
    # JSON, under the type that pages have.
    told = exchange.cloud.on_bulk(told)
    exchange.reply(status, json.dumps(told or []).encode())


def _next(body: bytes, at: int, marker: bytes) -> tuple[_Part, int]:
    """The part at an offset, its hash checked, and where the next begins."""
    head_ends = body.find(b"\r\n\r\n", at)
    if not body.startswith(marker + b"\r\n", at) or head_ends < 0:
        raise _Broken
    headers = {}
    for line in body[at + len(marker) + 2 : head_ends].decode().split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if "content-length" not in headers or "x-file-path" not in headers:
        raise _Broken
    start = head_ends + 4
    end = start + int(headers["content-length"])
    content = body[start:end]
    _check_hash(headers, content)
    if body[end : end + 2] != b"\r\n":
        raise _Broken
    return _Part(headers, content), end + 2


def _check_hash(headers: dict[str, str], content: bytes) -> None:
    given = headers.get("oc-checksum") or f"md5:{headers.get('x-file-md5', '')}"
    algorithm, _, claimed = given.partition(":")
    if algorithm.lower() not in ("md5", "sha1", "sha256"):
        raise _Broken
    if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() != claimed.lower():
        raise _Broken


def _store(exchange: Exchange, space: Space, part: _Part) -> dict[str, Any]:
    """One file: written over what is there, without a checksum; a refusal is this file's.

    The quota is checked as by its storage, which takes only what is smaller than the free space.
    """
    path = "/".join(parts(part.headers["x-file-path"]))
    tree = space.user.tree
    cloud = exchange.cloud
    try:
        if ".." in path.split("/"):
            raise bad_request("The path leads out")
        mtime = mtime_of(part.headers.get("x-oc-mtime") or part.headers.get("x-file-mtime"))
        parent, name = space.parent(path, bad_request("The folder is missing"))
        check_name(name)
        free = space.user.free()
        if free is not None and len(part.content) >= free:
            raise bad_request(f'Could not create path "/{path}"')
        lock = cloud.holding(space.key(path), exclusive=True, above=space.above(path))
        with lock, cloud.guard:
            there = parent.children.get(name)
            if isinstance(there, Folder):
                raise bad_request("A folder is there")
            if there is None:
                content = tree.blank()
                content.write_bytes(part.content)
                there = tree.add_file(parent, name, content, mtime)
            else:
                there.content.write_bytes(part.content)
                there.stored(mtime)
                there.checksum = ""
    except DavError as refusal:
        return {"error": True, "message": refusal.message}
    return {
        "error": False,
        "etag": there.etag,
        "fileid": shown_id(there),
        "permissions": permissions(space, there),
    }
