"""status.php, the part of the OCS API that file clients use, and a browser's pages."""

from __future__ import annotations

import json
from typing import Any

from support import storages
from support.nextcloud.access import check_throttle, signed_in
from support.nextcloud.cloud import VERSION, Nextcloud, User
from support.nextcloud.errors import DavError
from support.nextcloud.exchange import Exchange

JSON = "application/json; charset=utf-8"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n"


def status(exchange: Exchange) -> None:
    """status.php, which needs no sign-in and answers in maintenance too."""
    told = {
        "installed": True,
        "maintenance": exchange.cloud.maintenance,
        "needsDbUpgrade": False,
        "version": f"{VERSION}.2",
        "versionstring": VERSION,
        "edition": "",
        "productname": "Nextcloud",
        "extendedSupport": False,
    }
    exchange.reply(200, json.dumps(told).encode(), kind="application/json")


def public_capabilities() -> dict[str, Any]:
    """List the capabilities that need no sign-in."""
    theming = {"name": "Nextcloud", "productName": "Nextcloud", "url": "https://nextcloud.com"}
    return {"bruteforce": {"delay": 0, "allow-listed": False}, "theming": theming}


def capabilities(cloud: Nextcloud) -> dict[str, Any]:
    """List the site's capabilities for a signed-in account."""
    dav: dict[str, Any] = {"chunking": "1.0", "public_shares_chunking": False}
    if cloud.bulk:
        dav["bulkupload"] = "1.0"
    return {
        **public_capabilities(),
        "core": {"pollinterval": 60, "webdav-root": "remote.php/webdav"},
        "files": {
            "forbidden_filenames": [".htaccess"],
            "forbidden_filename_basenames": [],
            "forbidden_filename_characters": ["\\", "/"],
            "forbidden_filename_extensions": [".filepart", ".part"],
            "bigfilechunking": True,
            "chunked_upload": {"max_size": cloud.max_chunk, "max_parallel_count": 5},
            "undelete": True,
            "versioning": True,
        },
        "dav": dav,
        "files_sharing": {"api_enabled": True, "public": {"enabled": True, "upload": True}},
    }


def serve(exchange: Exchange, path: str) -> None:
    """Answer below /ocs/v1.php or /ocs/v2.php."""
    if exchange.cloud.maintenance:
        _reply(exchange, 503, None, "Service unavailable", ("X-Nextcloud-Maintenance-Mode", "1"))
        return
    try:
        _serve(exchange, path)
    except DavError as refusal:
        _reply(exchange, refusal.status, None, refusal.message)


def _serve(exchange: Exchange, path: str) -> None:
    check_throttle(exchange.cloud)
    user = signed_in(exchange) if exchange.header("Authorization") else None
    if user is not None and exchange.header("OCS-APIRequest") != "true":
        exchange.reply(412, b'{"message":"The request has no OCS-APIRequest"}', kind=JSON)
        return
    if path == "cloud/capabilities":
        major, minor, micro = map(int, VERSION.split("."))
        version = {"major": major, "minor": minor, "micro": micro, "string": VERSION}
        told = capabilities(exchange.cloud) if user else public_capabilities()
        _reply(exchange, 200, {"version": version, "capabilities": told})
    elif user is None:
        _reply(exchange, 401, None, "Nobody is signed in")
    elif path == "cloud/user":
        _reply(exchange, 200, _account(user))
    elif path == "core/getapppassword":
        _new_password(exchange, user)
    elif path == "core/apppassword" and exchange.method == "DELETE":
        user.app_passwords -= {_given(exchange)}
        _reply(exchange, 200, [])
    else:
        _reply(exchange, 404, None, "No such method")


def _given(exchange: Exchange) -> str:
    """The password of the request that was let in."""
    from base64 import b64decode

    raw = (exchange.header("Authorization") or "").partition(" ")[2]
    return b64decode(raw).decode().partition(":")[2]


def _new_password(exchange: Exchange, user: User) -> None:
    if _given(exchange) in user.app_passwords:
        _reply(exchange, 403, None, "An app password makes no other")
        return
    made = storages.password()
    user.app_passwords.add(made)
    _reply(exchange, 200, {"apppassword": made})


def _account(user: User) -> dict[str, Any]:
    free, used = user.free(), user.tree.root.size
    none = -3
    quota = {
        "free": none if free is None else free,
        "used": used,
        "total": none if free is None else used + free,
        "quota": none if user.quota is None else user.quota,
    }
    return {"enabled": user.enabled, "id": user.name, "quota": quota, "displayname": user.name}


def _reply(
    exchange: Exchange, code: int, data: Any, message: str = "OK", *headers: tuple[str, str]
) -> None:
    meta = {
        "status": "ok" if code < 300 else "failure",
        "statuscode": code,
        "message": message,
    }
    body = {"ocs": {"meta": meta, "data": [] if data is None else data}}
    exchange.reply(code, json.dumps(body).encode(), *headers, kind=JSON)


def page(exchange: Exchange) -> None:
    """Serve a browser: the sign-in, a link's page, or 404."""
    cloud, path = exchange.cloud, exchange.path.removeprefix("/index.php")
    if exchange.method not in ("GET", "HEAD", "POST"):
        exchange.reply(405)
    elif cloud.maintenance:
        exchange.reply(503, PAGE, ("X-Nextcloud-Maintenance-Mode", "1"), ("Retry-After", "120"))
    elif path.startswith("/s/"):
        _link_page(exchange, path.removeprefix("/s/"))
    elif path in ("", "/"):
        exchange.reply(302, b"", ("Location", f"{cloud.url}/login"))
    elif path == "/login":
        exchange.reply(200, PAGE)
    elif path.startswith("/apps/"):
        exchange.reply(401, b'{"message":"Nobody is signed in"}', kind=JSON)
    else:
        exchange.reply(404, PAGE)


def _link_page(exchange: Exchange, rest: str) -> None:
    token, _, action = rest.partition("/")
    if token not in exchange.cloud.links:
        exchange.reply(404, PAGE)
    elif action == "download" and exchange.cloud.links[token].readable:
        to = f"{exchange.cloud.url}/public.php/dav/files/{token}/?accept=zip"
        exchange.reply(303, b"", ("Location", to))
    else:
        exchange.reply(200, PAGE)
