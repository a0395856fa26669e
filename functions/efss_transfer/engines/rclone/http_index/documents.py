"""Reads an index of a web server: its entries, whether it is whole, and its further pages."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from html import unescape
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

_COMMENT: Final = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_LINK: Final = re.compile(r"<(?:a|link)\s[^>]*>", re.IGNORECASE)
HREF: Final = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_NEXT: Final = re.compile(r"""\srel\s*=\s*["']?[^"'>]*\bnext\b""", re.IGNORECASE)
_TAG: Final = re.compile(r"<(/?)(a|body|html|ol|pre|table|tbody|ul)\b", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"<input\b[^>]*\bpassword\b", re.IGNORECASE)
_OF_ENTRIES: Final = ("a", "ol", "pre", "table", "tbody", "ul")
"""The elements in which indexes have their entries. Browsers close `tbody` for themselves."""
# Sorted views, such as Apache's `?C=N;O=D`, have other names: they are not asked for.
_OF_PAGES: Final = frozenset(
    {
        *("after", "begin", "continuation", "cursor", "first", "from", "marker", "next", "offset"),
        *("p", "page", "paged", "pageno", "pagenum", "pg", "skip", "start", "start-after"),
    }
)


@dataclass(frozen=True)
class Index:
    """An index. `names` are those of its entries, of which folders end in `/`.

    `is_cut`: whether it ends before it is complete. `pages` are the URLs of what may be further
    pages of it, in their order. `asks_for_password`: whether a person has to sign in.
    """

    names: frozenset[str]
    is_cut: bool
    pages: tuple[str, ...]
    asks_for_password: bool


def read(url: str, text: str, *, ends_with_connection: bool) -> Index:
    """Read the index at a URL that ends in `/`.

    `ends_with_connection`: whether nothing else tells its end, so that it may be cut anywhere.
    """
    base = urlsplit(url)
    names: set[str] = set()
    pages: dict[str, None] = {}
    plain = shown(text)
    for link in _LINK.finditer(plain):
        if (found := HREF.search(link[0])) is None:
            continue
        try:
            target = urlsplit(
                urljoin(url, unescape(next(filter(None, found.groups()), "")).strip())
            )
        except ValueError:
            continue
        if (target.scheme, target.netloc) != (base.scheme, base.netloc):
            continue
        is_next = _NEXT.search(link[0]) is not None
        if is_next or (target.path == base.path and _is_page(target)):
            pages[target._replace(fragment="").geturl()] = None
        if link[0][1] in "aA" and not target.query and (name := _name(base, target)):
            names.add(name)
    pages.pop(url, None)
    is_cut = _ends_in_tag(plain) or (ends_with_connection and _is_open(plain))
    return Index(frozenset(names), is_cut, tuple(pages), _PASSWORD.search(plain) is not None)


def shown(text: str) -> str:
    """The text of a page without comments and scripts."""
    return _COMMENT.sub("", text)


def _is_page(target: SplitResult) -> bool:
    words = (part.partition("=") for part in re.split("[;&]", target.query))
    return any(name.lower() in _OF_PAGES and value for name, _, value in words)


def _name(base: SplitResult, target: SplitResult) -> str:
    """The name of an entry, as rclone takes it (1.75, backend/http/http.go); empty for others."""
    folder, path = unquote(base.path), unquote(target.path)
    name = path.removeprefix(folder) if path.startswith(folder) else ""
    return "" if "/" in name[:-1] else name


def _ends_in_tag(text: str) -> bool:
    begin = text.rfind("<")
    return begin >= 0 and begin > text.rfind(">") and _TAG.match(text, begin) is not None


def _is_open(text: str) -> bool:
    """Whether an element is open at the end that has entries.

    Some indexes close neither `html` nor `body`: then those of their entries tell it.
    """
    opened: Counter[str] = Counter()
    closed: Counter[str] = Counter()
    for end, name in _TAG.findall(text):
        (closed if end else opened)[name.lower()] += 1
    if closed["html"] or closed["body"]:
        return False
    if any(opened[name] > closed[name] for name in _OF_ENTRIES if name != "tbody"):
        return True
    has_list = any(closed[name] for name in _OF_ENTRIES[1:])
    return bool(opened["html"] or opened["body"]) and not has_list
