"""Spaces: the part of an account's files that a URL addresses."""

from __future__ import annotations

from dataclasses import dataclass

from support.nextcloud.cloud import Link, User
from support.nextcloud.errors import DavError, conflict, forbidden, invalid_path, not_found
from support.nextcloud.tree import File, Folder, Node, parts, path_of

_LONGEST = 250


@dataclass(frozen=True)
class Space:
    """A part of an account's files that a request may address.

    `href` is the URL's path of its root. A link may forbid reading or writing.
    """

    user: User
    root: Node
    href: str
    link: Link | None = None

    @property
    def readable(self) -> bool:
        """Permission to list and to read."""
        return self.link is None or self.link.readable

    @property
    def writable(self) -> bool:
        """Permission to create."""
        return self.link is None or self.link.writable or not self.link.readable

    def inside(self, path: str) -> str | None:
        """Make a URL's path relative to the root; None if it is outside."""
        prefix = self.href.rstrip("/") + "/"
        if path + "/" == prefix:
            return ""
        return path.removeprefix(prefix) if path.startswith(prefix) else None

    def find(self, path: str) -> Node | None:
        """Find the node at a path."""
        return self.user.tree.find(path, self.root)

    def get(self, path: str) -> Node:
        """Get the node at a path, or refuse with 404."""
        found = self.find(path)
        if found is None:
            raise not_found("/" + path)
        return found

    def parent(self, path: str, missing: DavError) -> tuple[Folder, str]:
        """Find the parent folder and the name of something to create."""
        names = parts(path)
        found = self.find("/".join(names[:-1]))
        if not names or not isinstance(found, Folder):
            raise missing
        return found, names[-1]

    def account_path(self, path: str) -> str:
        """A path as the account's owner knows it."""
        return path_of(self.root) + "".join(f"/{name}" for name in parts(path))

    def key(self, path: str) -> str:
        """The name of a path's lock."""
        return f"{self.user.name}:{self.account_path(path)}"

    def above(self, path: str) -> list[str]:
        """The names of the locks of the folders above a path, without the account's root."""
        names = parts(self.account_path(path))[:-1]
        return [f"{self.user.name}:/" + "/".join(names[: depth + 1]) for depth in range(len(names))]

    def check_writable(self, path: str) -> None:
        """Refuse to write to a read-only link, or below a shared file."""
        if isinstance(self.root, File) and path:
            raise conflict("Parent node is not a collection")
        if not self.writable:
            raise forbidden()


def check_name(name: str) -> None:
    """Refuse the names that Nextcloud refuses by default."""
    lower = name.lower()
    if lower == ".htaccess":
        raise invalid_path("Filename is a reserved word")
    for suffix in (".part", ".filepart"):
        if lower.endswith(suffix):
            raise invalid_path(f'"{suffix}" is a forbidden file type.')
    if "\\" in name:
        raise invalid_path('"\\" is not allowed inside a file or folder name.')
    if any(ord(character) < 32 for character in name):
        raise invalid_path("Filename contains at least one invalid character")
    if len(name.encode()) > _LONGEST:
        raise invalid_path("Filename is too long")


def permissions(space: Space, node: Node) -> str:
    """Permissions in the letters of oc:permissions."""
    if space.link is not None:
        return "RGDNVCK" if space.writable else "RG"
    return "RGDNVW" if isinstance(node, File) else "RGDNVCK"
