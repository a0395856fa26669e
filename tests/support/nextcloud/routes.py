"""Routing of requests by their path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from support.nextcloud import errors, ocs
from support.nextcloud.access import link_of_path, link_of_user, signed_in
from support.nextcloud.cloud import Link
from support.nextcloud.dav import bulk, files, namespace, uploads
from support.nextcloud.dav.propfind import entry, multistatus, propfind, propstat
from support.nextcloud.dav.spaces import Space
from support.nextcloud.exchange import Exchange

DAV: Final = "/remote.php/dav"
WEBDAV: Final = "/remote.php/webdav"
PUBLIC_DAV: Final = "/public.php/dav"
PUBLIC_WEBDAV: Final = "/public.php/webdav"

METHODS: Final[dict[str, Callable[[Exchange, Space, str], None]]] = {
    "PROPFIND": propfind,
    "GET": files.get,
    "HEAD": files.get,
    "PUT": files.put,
    "PATCH": files.patch,
    "PROPPATCH": files.proppatch,
    "MKCOL": namespace.mkcol,
    "DELETE": namespace.delete,
    "MOVE": namespace.move,
    "COPY": namespace.copy,
}


def below(path: str, base: str) -> str | None:
    """Strip a base from a path; None if the path is elsewhere."""
    if path == base:
        return ""
    return path.removeprefix(base + "/") if path.startswith(base + "/") else None


def answer(exchange: Exchange) -> None:
    """Answer a request."""
    path = exchange.path
    if path == "/status.php":
        ocs.status(exchange)
        return
    for version in ("/ocs/v1.php", "/ocs/v2.php"):
        if (rest := below(path, version)) is not None:
            ocs.serve(exchange, rest)
            return
    for base, serve in _ENTRIES.items():
        if (rest := below(path, base)) is not None:
            if exchange.cloud.maintenance:
                raise errors.maintenance()
            serve(exchange, rest)
            return
    ocs.page(exchange)


def _act(exchange: Exchange, space: Space, path: str) -> None:
    act = METHODS.get(exchange.method)
    if act is not None:
        act(exchange, space, path)
    elif exchange.method == "OPTIONS":
        exchange.reply(200, b"", ("Allow", errors.ALLOW), ("DAV", "1, 3, extended-mkcol"))
    else:
        raise errors.not_implemented(exchange.method)


def _webdav(exchange: Exchange, rest: str) -> None:
    user = signed_in(exchange)
    _act(exchange, Space(user, user.tree.root, WEBDAV), rest)


def _dav(exchange: Exchange, rest: str) -> None:
    user = signed_in(exchange)
    kind, _, inside = rest.partition("/")
    owner, _, path = inside.partition("/")
    space = Space(user, user.tree.root, f"{DAV}/files/{owner or user.name}")
    if kind == "bulk" and exchange.method == "POST" and exchange.cloud.bulk:
        bulk.serve(exchange, space)
    elif kind == "uploads" and owner.lower() == user.name:
        uploads.serve(exchange, user, space, path)
    elif kind == "files" and owner.lower() == user.name:
        _act(exchange, space, path)
    else:
        _foreign(exchange, kind, owner)


def _foreign(exchange: Exchange, kind: str, owner: str) -> None:
    """Answer for another account's files, of which only the folder itself is visible."""
    known = kind in ("", "files", "uploads") and owner in ("", *exchange.cloud.users)
    if exchange.method == "PROPFIND" and known:
        exchange.body()
        only = propstat("<d:resourcetype><d:collection/></d:resourcetype>", "200 OK")
        multistatus(exchange, [entry(exchange.path + "/", only)])
    elif known:
        raise errors.forbidden("Permission denied to create in another account")
    elif exchange.method == "MKCOL":
        raise errors.conflict("Parent node does not exist")
    else:
        raise errors.not_found(exchange.path)


def _public_webdav(exchange: Exchange, rest: str) -> None:
    link = link_of_user(exchange)
    if not link.readable and exchange.method in ("PUT", "MKCOL"):
        # As seen at this address, for a single file as well.
        raise errors.bad_request("A file drop needs a nickname")
    _linked(exchange, link, PUBLIC_WEBDAV + "/", rest)


def _public_dav(exchange: Exchange, rest: str) -> None:
    kind, _, inside = rest.partition("/")
    token, _, path = inside.partition("/")
    link = link_of_path(exchange, token if kind in ("files", "uploads") else "")
    href = f"{PUBLIC_DAV}/files/{token}"
    if kind == "uploads":
        # As seen, although the capabilities say public_shares_chunking: false.
        space = _shared(exchange, link, href)
        uploads.serve(exchange, space.user, space, path)
    else:
        _linked(exchange, link, href, path)


def _shared(exchange: Exchange, link: Link, href: str) -> Space:
    owner = exchange.cloud.users[link.owner]
    root = owner.tree.find(link.path)
    if root is None:
        raise errors.unavailable("Sabre\\DAV\\Exception\\NotFound: ")
    return Space(owner, root, href, link)


def _linked(exchange: Exchange, link: Link, href: str, path: str) -> None:
    _act(exchange, _shared(exchange, link, href), path)


_ENTRIES: Final = {
    WEBDAV: _webdav,
    DAV: _dav,
    PUBLIC_WEBDAV: _public_webdav,
    PUBLIC_DAV: _public_dav,
}
