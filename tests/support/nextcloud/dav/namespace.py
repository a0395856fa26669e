"""Methods on names: MKCOL, DELETE, MOVE and COPY."""

from __future__ import annotations

from contextlib import ExitStack

from support.nextcloud import errors
from support.nextcloud.cloud import shown_id
from support.nextcloud.dav import preconditions
from support.nextcloud.dav.spaces import Space, check_name
from support.nextcloud.exchange import Exchange
from support.nextcloud.tree import File, Folder, Node, path_of


def mkcol(exchange: Exchange, space: Space, path: str) -> None:
    """Make a folder.

    While another request makes the same folder the answer is 423, and 405 a moment later.
    """
    space.check_writable(path)
    if not space.readable:
        raise errors.bad_request("Folders of a file drop need a nickname")
    body = exchange.body()
    if body and "xml" not in (exchange.header("Content-Type") or ""):
        raise errors.unsupported_media("The body is no XML")
    cloud = exchange.cloud
    exists = errors.not_allowed("Something is there already")
    if space.find(path) is not None:
        raise exists
    parent, name = space.parent(path, errors.conflict(_missing(space, path)))
    if name.lower().endswith((".part", ".filepart")):
        # As seen: refused, in the words for what is there.
        raise exists
    check_name(name)
    with cloud.holding(space.key(path), exclusive=True, above=space.above(path)):
        exchange.spend()
        with cloud.guard:
            if name in parent.children:
                raise exists
            made = space.user.tree.add_folder(parent, name)
    exchange.reply(201, b"", ("OC-FileId", shown_id(made)))


def _missing(space: Space, path: str) -> str:
    """Message for a path without a parent folder; clients read these words."""
    above = space.find(path.rpartition("/")[0])
    return "Parent node is not a collection" if above else "Parent node does not exist"


def delete(exchange: Exchange, space: Space, path: str) -> None:
    """Remove a file, or a folder with all that is in it."""
    space.check_writable(path)
    node = space.get(path)
    preconditions.check(exchange, space, node)
    if node is space.root:
        raise errors.forbidden("The home folder stays")
    cloud = exchange.cloud
    with cloud.holding(space.key(path), exclusive=True, above=space.above(path)):
        exchange.spend()
        with cloud.guard:
            if node.parent is None:
                raise errors.not_found("/" + path)
            space.user.tree.remove(node)
    exchange.reply(204)


def _target(exchange: Exchange, space: Space, path: str) -> tuple[str, Folder, str, Node | None]:
    """Resolve the destination of a MOVE or COPY: path, folder, name, existing node."""
    to = space.inside(preconditions.destination(exchange))
    if to is None:
        raise errors.forbidden("The destination is outside these files")
    if to == path:
        raise errors.forbidden("Source and destination are the same")
    above = space.find(to.rpartition("/")[0])
    if above is None:
        raise errors.conflict("The destination node is not found")
    if isinstance(above, File):
        raise errors.unsupported_media("The destination is below a file")
    if f"{to}/".startswith(f"{path}/"):
        raise errors.conflict("The destination is below the source")
    parent, name = space.parent(to, errors.conflict("The destination node is not found"))
    there = parent.children.get(name)
    preconditions.check_overwrite(exchange, there)
    check_name(name)
    return to, parent, name, there


def move(exchange: Exchange, space: Space, path: str) -> None:
    """Rename. An existing destination is removed, with its id."""
    space.check_writable(path)
    node = space.get(path)
    preconditions.check(exchange, space, node)
    to, parent, name, there = _target(exchange, space, path)
    cloud = exchange.cloud
    folder = isinstance(node, Folder)
    with ExitStack() as locks:
        for one in sorted((path, to)):
            locks.enter_context(
                cloud.holding(space.key(one), exclusive=True, folder=folder, above=space.above(one))
            )
        exchange.spend()
        with cloud.guard:
            if there is not None:
                space.user.tree.remove(there)
            space.user.tree.move(node, parent, name)
    headers = [("OC-FileId", shown_id(node))]
    if isinstance(node, File):
        headers += [("OC-ETag", f'"{node.etag}"'), ("ETag", f'"{node.etag}"')]
    exchange.reply(201 if there is None else 204, b"", *headers)


def copy(exchange: Exchange, space: Space, path: str) -> None:
    """Copy something on the server."""
    space.check_writable(path)
    node = space.get(path)
    preconditions.check(exchange, space, node)
    to, parent, name, there = _target(exchange, space, path)
    cloud = exchange.cloud
    with cloud.holding(space.key(to), exclusive=True, above=space.above(to)):
        exchange.spend()
        with cloud.guard:
            if there is not None:
                space.user.tree.remove(there)
            made = space.user.tree.copy(node, parent, name)
            assert path_of(made)
    exchange.reply(201 if there is None else 204, b"", ("OC-FileId", shown_id(made)))
