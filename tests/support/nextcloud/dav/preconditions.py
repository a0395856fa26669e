"""The conditions of a request: If-Match, If-None-Match, If-Unmodified-Since, If, Overwrite."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from support.nextcloud.dav.spaces import Space
from support.nextcloud.errors import bad_request, not_found, precondition
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import Node
from support.stand_in.exchange import decoded

_LIST = re.compile(r"(?:<([^>]*)>\s*)?\(([^)]*)\)")
_TAG = re.compile(r'(Not\s+)?\["([^"]*)"\]')


def _names(header: str, node: Node) -> bool:
    """Test whether a list of ETags contains that of a node."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    return "*" in tags or node.etag in tags


def check(exchange: Exchange, space: Space, node: Node | None) -> None:
    """Refuse a request whose precondition fails for the resource at its own path.

    The ETag of an upload session's `.file` is not its target's: a MOVE from there is tied to
    its target by `If` alone.
    """
    match = exchange.header("If-Match")
    if match is not None:
        if node is None:
            raise precondition("If-Match", "Nothing is there to match")
        if not _names(match, node):
            raise precondition("If-Match", "The ETag is another", node.etag)
    writes = exchange.method not in ("GET", "HEAD")
    none_match = exchange.header("If-None-Match") if writes else None
    if node is not None and none_match is not None and _names(none_match, node):
        raise precondition("If-None-Match", "The ETag is the same, or something is there")
    since = exchange.header("If-Unmodified-Since")
    if node is not None and since and node.mtime > parsedate_to_datetime(since).timestamp():
        raise precondition("If-Unmodified-Since", "It was changed since then")
    _check_if(exchange, space, node)


def _check_if(exchange: Exchange, space: Space, node: Node | None) -> None:
    """RFC 4918's If, as far as ETags go; each list must hold for its own resource."""
    for resource, conditions in _LIST.findall(exchange.header("If") or ""):
        tagged = node
        if resource:
            inside = space.inside(decoded(resource))
            tagged = None if inside is None else space.find(inside)
            if tagged is None:
                raise not_found(decoded(resource))
        for negated, etag in _TAG.findall(conditions):
            if (tagged is not None and tagged.etag == etag) is bool(negated):
                raise precondition("If", "No listed ETag is that of the resource")


def destination(exchange: Exchange) -> str:
    """The path that Destination names; its host does not matter."""
    given = exchange.header("Destination")
    if given is None:
        raise bad_request("The request has no Destination")
    return decoded(given)


def may_replace(exchange: Exchange) -> bool:
    """Test whether the request may replace its destination."""
    return (exchange.header("Overwrite") or "T").upper() != "F"


def check_overwrite(exchange: Exchange, there: Node | None) -> None:
    """Refuse to replace a destination with `Overwrite: F`."""
    if there is not None and not may_replace(exchange):
        raise precondition("Overwrite", "Something is at the destination")
