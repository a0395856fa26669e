"""Places: the space and the path in it that a URL means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from support.opencloud.cloud import OpenCloud, Space, User
from support.opencloud.errors import Refusal, not_found
from support.opencloud.tree import File, Folder, Node, names
from support.stand_in.exchange import Exchange as Shared
from support.stand_in.exchange import decoded

Exchange = Shared[OpenCloud]

_OWN: Final = ("/remote.php/webdav", "/webdav")
_FILES: Final = ("/remote.php/dav/files", "/dav/files")
_SPACES: Final = ("/remote.php/dav/spaces", "/dav/spaces")


@dataclass(frozen=True)
class Place:
    """A path in a space, and the URL's path of that space."""

    space: Space
    base: str
    path: str

    def find(self) -> Node | None:
        """Find what is there."""
        return self.space.root.find(self.path)

    def get(self) -> Node:
        """Get what is there, or refuse."""
        found = self.find()
        if found is None:
            raise not_found()
        return found

    def above(self) -> tuple[Node | None, str]:
        """What is at the parent's path, and the last name."""
        parts = names(self.path)
        return self.space.root.find("/".join(parts[:-1])), parts[-1] if parts else ""

    def href(self, node: Node) -> str:
        """A node's path in URLs."""
        return f"{self.base}{node.path}{'/' if isinstance(node, Folder) else ''}"


def _below(path: str, bases: tuple[str, ...]) -> tuple[str, str] | None:
    for base in bases:
        if f"{path}/".startswith(f"{base}/"):
            return base, path[len(base) + 1 :]
    return None


def place(cloud: OpenCloud, user: User, path: str) -> Place | None:
    """The place that a URL's path means. None if that is no WebDAV.

    Raises `Refusal` for a user or a space that does not exist, or is another's.
    """
    if (found := _below(path, _OWN)) is not None:
        return Place(user.space, found[0], found[1])
    if (found := _below(path, _FILES)) is not None:
        name, _, rest = found[1].partition("/")
        if name not in ("", user.name):
            raise Foreign("user")
        return Place(user.space, f"{found[0]}/{user.name}", rest)
    if (found := _below(path, _SPACES)) is not None:
        name, _, rest = found[1].partition("/")
        space = cloud.spaces.get(name)
        if space is None:
            raise Foreign("space")
        return Place(space, f"{found[0]}/{name}", rest)
    return None


def destination(exchange: Exchange, user: User) -> Place:
    """The place that Destination means; its host does not matter."""
    found = place(exchange.cloud, user, decoded(exchange.header("Destination") or ""))
    if found is None:
        raise Refusal(400)
    return found


class Foreign(Exception):
    """A user or a space that does not exist, or is another's."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def refusal(self, method: str) -> Refusal:
        """As each method refuses it."""
        if method in ("GET", "HEAD", "PUT"):
            return Refusal(404)
        if method == "MKCOL" and self.kind == "user":
            return Refusal(409, "intermediate collection does not exist")
        return not_found()


def shown_id(space: Space, node: Node) -> str:
    """A node's id as OC-FileId shows it."""
    return f"{space.id}!{node.id}"


def is_processing(node: Node | None) -> bool:
    """Test whether a node is a file in post-processing."""
    return isinstance(node, File) and node.is_processing
