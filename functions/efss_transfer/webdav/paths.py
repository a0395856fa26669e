"""Map each listing entry to its path below the requested folder.

Servers write hrefs in many forms: a full URL with an internal host, the path behind a reverse
proxy, another case, another Unicode form. Each entry is either placed or raises an error with its
href; none is skipped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Generic, Literal, Protocol, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

Segments = tuple[str, ...]

# Not ";": what follows it may be read as a parameter of a URL (RFC 3986, section 3.3).
_SAFE: Final = "!$&'()*+,=:@-._~"
_LONGEST_HREF: Final = 1 << 14
_MOST_HELD: Final = 100_000
_SHOWN: Final = 200


class UnplacedEntry(Exception):
    """Entry that does not belong to the listed folder, identified by its href."""

    def __init__(self, href: str, reason: str) -> None:
        shown = href if len(href) <= _SHOWN else f"{href[:_SHOWN]}…"
        super().__init__(f"the listing entry {shown!r} {reason}")
        self.href = shown


class Linked(Protocol):
    """Item with an href that is either a folder or a file."""

    @property
    def href(self) -> str:
        """Href exactly as the server wrote it."""

    @property
    def collection(self) -> bool:
        """Return whether the item is a folder."""


_Item = TypeVar("_Item", bound=Linked)


def segments(path: str) -> Segments:
    """Decode a percent-encoded path into its names.

    Bytes that are not UTF-8 become surrogates; a `%` without two hexadecimal digits after it stays
    as it is. Raises ValueError for a name that a path cannot contain.
    """
    parts = (part for part in path.split("/") if part)
    names = tuple(map(_unquoted, parts) if "%" in path else parts)
    for name in names:
        if name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError("a path segment is '.' or '..', or contains '/' or NUL")
    return names


def _unquoted(part: str) -> str:
    raw = part.encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


def encoded(names: Iterable[str]) -> str:
    """Percent-encode names into a path that begins with `/`."""
    return "".join([f"/{_quoted(name)}" for name in names])


@lru_cache(maxsize=1 << 12)  # folders are in the paths of all their files
def _quoted(name: str) -> str:
    return quote_from_bytes(name.encode("utf-8", "surrogateescape"), _SAFE)


def of_href(href: str) -> Segments:
    """The names in an href, which may be a path or a URL with any host.

    `?` and `#` are ordinary characters: a WebDAV resource has no query, and some servers leave
    them unencoded in names.
    """
    if len(href) > _LONGEST_HREF:
        raise UnplacedEntry(href, f"has more than {_LONGEST_HREF} characters")
    rest = href
    scheme, separator, after = href.partition("://")
    if separator and scheme.isalnum():
        rest = after[after.find("/") :] if "/" in after else ""
    elif href.startswith("//"):
        # Either a host without a scheme or a path with an empty segment; the latter is common.
        rest = href.lstrip("/")
    try:
        return segments(rest)
    except ValueError:
        raise UnplacedEntry(href, "contains a name that is invalid in a path") from None


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two paths differ at most in case and Unicode form."""
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: str, other: str) -> bool:
    return one == other or folded(one) == folded(other)


def folded(name: str) -> str:
    """Return the form that a name shares with all that differ at most in case and Unicode form."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Base:
    """Base path in the server's hrefs, learned from its listings.

    `asked` is the path in requests, `called` the path in hrefs.
    """

    def __init__(self, asked: Segments) -> None:
        self.asked = asked
        self.called = asked

    def learn(self, folder: Segments, own: Segments, *, alone: bool) -> bool:
        """Learn the base path from a folder's own href; return whether the href fits the folder.

        For the base itself the path proves nothing. Then either the folder has entries, which show
        its location (`alone` is false), or one of the two paths must end with the other.
        """
        count = len(folder)
        if count and not alike(own[-count:], folder):
            return False
        called = own[: len(own) - count]
        common = min(len(called), len(self.asked))
        ends = not common or alike(called[-common:], self.asked[-common:])
        if not count and alone and not ends:
            return False
        self.called = called
        return True


class EntryPlacer(Generic[_Item]):
    """Placement of the entries of one depth-1 listing, in their order of arrival.

    `folder` is the listed path below the base. Entries are held back only while the server's path
    for the folder is unknown.
    """

    def __init__(self, base: Base, folder: Segments) -> None:
        self._base = base
        self._folder = folder
        self._held: list[tuple[Segments, _Item]] = []
        self._own: Segments | None = None
        self.has_own = False
        self.is_empty = True

    def place(self, items: Iterable[_Item]) -> Iterator[tuple[str | None, _Item]]:
        """Yield each entry with its name in the folder, or None for the folder itself.

        Raises UnplacedEntry.
        """
        for item in items:
            self.is_empty = False
            path = of_href(item.href)
            name = self._placed(path)
            if name is False:
                if self._own is not None:
                    raise UnplacedEntry(item.href, "is outside the folder: check the URL")
                if len(self._held) >= _MOST_HELD:
                    raise UnplacedEntry(
                        item.href, "and all before it are outside the folder: check the URL"
                    )
                self._held.append((path, item))
            else:
                yield name, item

    def finish(self) -> Iterator[tuple[str | None, _Item]]:
        """Yield the entries held back until the end. Raises UnplacedEntry."""
        if not self._held:
            return
        own, first = min(self._held, key=lambda held: len(held[0]))
        alone = len(self._held) == 1
        fits = self._own is None and first.collection
        if not fits or not self._base.learn(self._folder, own, alone=alone):
            raise UnplacedEntry(first.href, "is outside the folder: check the URL")
        self._own = own
        for path, item in self._held:
            name = self._placed(path)
            if name is False:
                raise UnplacedEntry(item.href, "is outside the folder: check the URL")
            yield name, item
        self._held = []

    def _placed(self, path: Segments) -> str | Literal[False] | None:
        """Return the name, None for the folder itself, or False for an entry elsewhere."""
        if path and path[:-1] == self._own:
            return path[-1]
        for own in self._known():
            if len(path) == len(own) and alike(path, own):
                self._own = own
                self.has_own = True
                return None
            if len(path) == len(own) + 1 and alike(path[:-1], own):
                self._own = own
                return path[-1]
        return False

    def _known(self) -> Iterator[Segments]:
        if self._own is not None:
            yield self._own
            return
        yield (*self._base.called, *self._folder)
        if self._base.called != self._base.asked:
            yield (*self._base.asked, *self._folder)
