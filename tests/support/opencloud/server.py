"""The stand-in as a running server: sign-in, routes, status.php and the capabilities."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from support.opencloud import archiver, dav, listing, tus
from support.opencloud.cloud import OpenCloud, User
from support.opencloud.errors import Refusal, not_authenticated, not_found
from support.opencloud.places import Exchange, Foreign, Place, place
from support.stand_in.server import running
from support.stand_in.site import Cost

_STATUS: Final = {
    "installed": True,
    "maintenance": False,
    "needsDbUpgrade": False,
    "version": "0.1.0.0",
    "versionstring": "0.1.0",
    "edition": "Community",
    "productname": "OpenCloud",
    "product": "OpenCloud",
    "productversion": "0.1.0+dev",
}
_CAPABILITIES: Final[dict[str, Any]] = {
    "core": {"pollinterval": 60, "webdav-root": "remote.php/webdav", "status": _STATUS},
    "checksums": {
        "supportedTypes": ["sha1", "md5", "adler32"],
        "preferredUploadType": "sha1",
    },
    "files": {
        "bigfilechunking": False,
        "undelete": True,
        "versioning": True,
    },
    "dav": {"chunking": "", "trashbin": "1.0", "reports": ["search-files"]},
    "spaces": {"version": "1.0.0", "enabled": True, "projects": True, "max_quota": 0},
}
_METHODS: Final[dict[str, Callable[[Exchange, Place, User], None]]] = {
    "PROPFIND": lambda exchange, place, _: listing.propfind(exchange, place),
    "PROPPATCH": lambda exchange, place, _: listing.proppatch(exchange, place),
    "GET": dav.get,
    "HEAD": dav.get,
    "PUT": dav.put,
    "MKCOL": dav.mkcol,
    "DELETE": dav.delete,
    "POST": tus.create,
    "MOVE": dav.move,
    "COPY": dav.copy,
}


def _signed_in(exchange: Exchange) -> User:
    """The account that asks. Each request pays for it, whatever came before."""
    cloud = exchange.cloud
    scheme, _, given = (exchange.header("Authorization") or "").partition(" ")
    costs = cloud.sign_in_costs()
    if scheme == "Bearer":
        cloud.spend(costs["bearer"])
        name, ends = cloud.tokens.get(given, ("", 0.0))
        if name and time.monotonic() < ends:
            return cloud.users[name]
    elif scheme == "Basic":
        try:
            name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name, secret = "", ""
        user = cloud.users.get(name)
        is_app = user is not None and any(_same(secret, one) for one in user.app_tokens)
        cloud.spend(costs["app" if is_app else "password"])
        if user is not None and (is_app or _same(secret, user.password)):
            return user
    raise not_authenticated(exchange.method)


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def _drives(cloud: OpenCloud, user: User) -> dict[str, Any]:
    """The account's spaces with their quota. Without a limit `remaining` is the largest number."""
    told = []
    others = {one.space.id for one in cloud.users.values() if one is not user}
    for space in cloud.spaces.values():
        used = space.root.size
        left = (1 << 63) - 1 if space.quota is None else max(0, space.quota - used)
        quota = {"remaining": left, "total": space.quota or 0, "used": used}
        kind = "personal" if space is user.space else "project"
        if space.id not in others:
            told.append({"id": space.id, "driveType": kind, "quota": quota})
    return {"value": told}


def _answer(exchange: Exchange) -> None:
    cloud, path = exchange.cloud, exchange.path
    if path == "/status.php":
        exchange.reply(200, json.dumps(_STATUS).encode(), kind="application/json")
        return
    if path in ("/ocs/v1.php/cloud/capabilities", "/ocs/v2.php/cloud/capabilities"):
        meta = {"status": "ok", "statuscode": 100 if "/v1" in path else 200, "message": "OK"}
        told_of = {"tus_support": tus.capability(cloud), "archivers": archiver.capability(cloud)}
        files = {**_CAPABILITIES["files"], **told_of}
        told = {"ocs": {"meta": meta, "data": {"capabilities": {**_CAPABILITIES, "files": files}}}}
        exchange.reply(200, json.dumps(told).encode(), kind="application/json; charset=utf-8")
        return
    cloud.spend(cloud.cost.start)
    if path.startswith("/data/"):
        tus.serve(exchange, path.removeprefix("/data/"))
        return
    if not path.startswith(("/remote.php/", "/dav", "/webdav", "/graph/", archiver.PATH)):
        raise Refusal(502)
    if exchange.method == "OPTIONS":
        tus.options(exchange)
        return
    user = _signed_in(exchange)
    exchange.request.user = user.name
    cloud.settle()
    if path == "/graph/v1.0/me/drives":
        exchange.reply(200, json.dumps(_drives(cloud, user)).encode(), kind="application/json")
        return
    if path == archiver.PATH and cloud.archives:
        archiver.send_archive(exchange)
        return
    try:
        found = place(cloud, user, path)
        if found is None:
            raise not_found("File not found in root") if path == "/dav" else Refusal(404)
        act = _METHODS.get(exchange.method)
        if act is None:
            raise Refusal(404)
        act(exchange, found, user)
    except Foreign as foreign:
        raise foreign.refusal(exchange.method) from None


def serve(exchange: Exchange) -> None:
    """Answer, or refuse."""
    try:
        _answer(exchange)
    except Refusal as refusal:
        kind = "text/xml; charset=utf-8"
        exchange.reply(refusal.status, refusal.body(), *refusal.headers, kind=kind)


@contextmanager
def serving(*, cost: Cost | None = None) -> Iterator[OpenCloud]:
    """A stand-in with the account `alice`, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="opencloud-") as folder:
        cloud = OpenCloud(Path(folder), cost=cost or Cost())
        with running(cloud, serve):
            yield cloud
